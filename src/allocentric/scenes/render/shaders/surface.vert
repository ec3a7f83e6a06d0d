uniform mat4 clip_from_world;
uniform vec3 eye;
uniform vec4 lamps[MAX_LAMPS];  // position, 1 / reach^2
#ifdef SHADOWS
uniform mat4 sun_from_world;
#endif

in vec3 in_position;
in vec3 in_normal;
in vec2 in_uv;
in vec3 in_face_normal;
in vec4 in_color_roughness;
in vec4 in_color_layer;
in ivec2 in_triangle_lamp;

out vec3 normal;
out vec2 uv;
out vec3 to_eye;
out vec4 to_lamp;
flat out vec4 color_gloss;
flat out vec4 color_layer;
flat out ivec2 triangle_lamp;
#ifdef SHADOWS
out vec3 sun_at;
#endif

void main() {
    gl_Position = clip_from_world * vec4(in_position, 1.0);
    normal = in_normal;
    uv = in_uv;
    to_eye = eye - in_position;
    int lamp = in_triangle_lamp.y;
    to_lamp = lamp < 0 ? vec4(0.0, 0.0, 1.0, NO_LAMP) : vec4(lamps[lamp].xyz - in_position, lamps[lamp].w);
    color_gloss = vec4(in_color_roughness.rgb, gloss_of(in_color_roughness.a));
    color_layer = vec4(in_color_layer.rgb, 255.0 * in_color_layer.a);
    triangle_lamp = in_triangle_lamp;
#ifdef SHADOWS
    sun_at = (sun_from_world * vec4(in_position + in_face_normal * SHADOW_LIFT_M, 1.0)).xyz;
#endif
}
