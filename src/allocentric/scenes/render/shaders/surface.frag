#ifdef ORTHOGRAPHIC
uniform float far;
uniform vec3 view_direction;
#endif

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
#ifdef ORTHOGRAPHIC
    vec3 towards = -view_direction;
#else
    vec3 towards = to_eye;
#endif
    vec3 n = normal * inversesqrt(dot(normal, normal) + 1e-12);
    out_rgb = vec4(to_display(lit(albedo, color_gloss.a, n, towards, to_lamp, triangle_lamp.y, sun)), 1.0);
#endif
#ifdef OUT_DEPTH
#ifdef ORTHOGRAPHIC
    out_inverse_depth = 1.0 / (gl_FragCoord.z * far);
#else
    out_inverse_depth = gl_FragCoord.w;
#endif
#endif
#ifdef OUT_TRIANGLE
    out_triangle = triangle_lamp.x;
#endif
}
