uniform float orthographic_far;  // 0 for perspective
uniform vec3 view_direction;     // orthographic only

in vec3 normal;
in vec3 uv_layer;
in vec3 to_eye;
in vec4 to_lamp;
flat in vec3 face_normal;
flat in uvec2 colors;
flat in ivec2 object_lamp;
#ifdef SHADOWS
in vec3 sun_at;
#endif

#ifdef OUT_RGB
layout(location = OUT_RGB) out vec4 out_rgb;
#endif
#ifdef OUT_SURFACE
layout(location = OUT_SURFACE) out vec4 out_surface;  // normal, depth
#endif
#ifdef OUT_DEPTH
layout(location = OUT_DEPTH) out float out_depth;
#endif
#ifdef OUT_ID
layout(location = OUT_ID) out int out_id;
#endif

void main() {
#ifdef OUT_RGB
    vec3 albedo = albedo_of(texture(tile_texture, uv_layer), colors.x, colors.y);
    float gloss = 1.0 - unpackUnorm4x8(colors.x).a;
#ifdef SHADOWS
    vec3 sun = sun_at;
#else
    vec3 sun = vec3(0.0);
#endif
    vec3 towards = orthographic_far > 0.0 ? -view_direction : to_eye;
    vec3 n = normal * inversesqrt(dot(normal, normal) + 1e-12);
    out_rgb = vec4(to_display(lit(albedo, gloss, n, towards, to_lamp, object_lamp.y, sun)), 1.0);
#endif
    float depth = orthographic_far > 0.0 ? gl_FragCoord.z * orthographic_far : 1.0 / gl_FragCoord.w;
#ifdef OUT_SURFACE
    out_surface = vec4(face_normal, depth);
#endif
#ifdef OUT_DEPTH
    out_depth = depth;
#endif
#ifdef OUT_ID
    out_id = object_lamp.x;
#endif
}
