uniform mat3 direction_from_pixel;  // world direction of (u, v, 1) in pixels

#ifdef OUT_RGB
layout(location = OUT_RGB) out vec4 out_rgb;
#endif
#ifdef OUT_DEPTH
layout(location = OUT_DEPTH) out float out_inverse_depth;
#endif
#ifdef OUT_TRIANGLE
layout(location = OUT_TRIANGLE) out int out_triangle;
#endif

void main() {
#ifdef OUT_RGB
    vec3 direction = direction_from_pixel * vec3(gl_FragCoord.xy, 1.0);
    out_rgb = vec4(to_display(background(direction.z * inversesqrt(dot(direction, direction)))), 1.0);
#endif
#ifdef OUT_DEPTH
    out_inverse_depth = 0.0;
#endif
#ifdef OUT_TRIANGLE
    out_triangle = 0;
#endif
}
