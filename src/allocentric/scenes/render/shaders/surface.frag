uniform float orthographic_far;  // 0 for perspective
uniform vec3 view_direction;     // orthographic only

in vec3 normal;
in vec2 uv;
in vec3 to_eye;
in vec4 to_lamp;
flat in vec4 color_gloss;
flat in vec4 color_layer;
flat in ivec2 triangle_lamp;
#ifdef SHADOWS
in vec3 sun_at;
#endif

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
    vec3 albedo = albedo_of(texture(tile_texture, vec3(uv, color_layer.a)), color_gloss.rgb, color_layer.rgb);
#ifdef SHADOWS
    vec3 sun = sun_at;
#else
    vec3 sun = vec3(0.0);
#endif
    vec3 towards = orthographic_far > 0.0 ? -view_direction : to_eye;
    vec3 n = normal * inversesqrt(dot(normal, normal) + 1e-12);
    out_rgb = vec4(to_display(lit(albedo, color_gloss.a, n, towards, to_lamp, triangle_lamp.y, sun)), 1.0);
#endif
#ifdef OUT_DEPTH
    out_inverse_depth = orthographic_far > 0.0 ? 1.0 / (gl_FragCoord.z * orthographic_far) : gl_FragCoord.w;
#endif
#ifdef OUT_TRIANGLE
    out_triangle = triangle_lamp.x;
#endif
}
