// Every object gets a depth of its own, nearer than the last one's, so each pixel it covers passes the test once.
uniform mat4 clip_from_world;
uniform float layer;
in vec3 in_position;
void main() {
    vec4 at = clip_from_world * vec4(in_position, 1.0);
    gl_ClipDistance[0] = at.z + at.w;
    gl_Position = vec4(at.xy, layer * at.w, at.w);
}
