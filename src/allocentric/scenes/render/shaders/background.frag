uniform mat3 direction_from_pixel;  // world direction of (u, v, 1) in pixels

#ifdef OUT_RGB
layout(location = OUT_RGB) out vec4 out_rgb;
#endif
#ifdef OUT_SURFACE
layout(location = OUT_SURFACE) out vec4 out_surface;
#endif
#ifdef OUT_DEPTH
layout(location = OUT_DEPTH) out float out_depth;
#endif
#ifdef OUT_ID
layout(location = OUT_ID) out int out_id;
#endif

void main() {
#ifdef OUT_RGB
    vec3 direction = direction_from_pixel * vec3(gl_FragCoord.xy, 1.0);
    out_rgb = vec4(to_display(background(direction.z * inversesqrt(dot(direction, direction)))), 1.0);
#endif
#ifdef OUT_SURFACE
    out_surface = vec4(0.0, 0.0, 0.0, uintBitsToFloat(0x7f800000u));
#endif
#ifdef OUT_DEPTH
    out_depth = uintBitsToFloat(0x7f800000u);
#endif
#ifdef OUT_ID
    out_id = -1;
#endif
}
