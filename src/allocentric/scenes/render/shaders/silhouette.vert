// Every object is drawn at a depth of its own, nearer than the last one's, so each pixel it covers passes the test once.
uniform mat4 clip_from_world;
in vec3 in_position;
void main() {
    gl_Position = clip_from_world * vec4(in_position, 1.0);
    gl_ClipDistance[0] = gl_Position.z + gl_Position.w;  // depth clamping switches off the near plane's own clipping
}
