// How a surface looks. The NumPy twin is shading.py; both take the same constants from lights.py.

uniform sampler2DArray tile_texture;
uniform vec3 sun_direction;
uniform vec3 sun_color;
uniform vec3 sky_color;
uniform vec3 ground_color;
uniform vec3 lamp_color;
uniform vec3 horizon_color;
uniform vec3 zenith_color;
#ifdef SHADOWS
uniform sampler2DShadow sun_shadow;
uniform sampler2DShadow lamp_shadow;
uniform vec4 lamp_map;  // tiles along an edge of the atlas, largest tangent in a tile, a and b of depth = a - b / drop
#endif

vec3 to_linear(vec3 encoded) { return encoded * encoded; }

vec3 to_display(vec3 light) {
    vec3 x = light * EXPOSURE;
    return sqrt(x * (1.0 + WHITE * x) / (1.0 + (WHITE + SHOULDER) * x));  // the target clamps to 1
}

// Colour of the material at a texel: see textures.py for the channels.
vec3 albedo_of(vec4 texel, vec3 color1, vec3 color2) {
    vec3 color = mix(color1, color2, texel.r);
    color = mix(color, color.gbr, texel.b) * (2.0 * texel.g);
    return to_linear(color);
}

#ifdef SHADOWS
float lamp_visibility(vec3 to_lamp, int lamp) {
    float drop = to_lamp.z;
    vec2 at = -to_lamp.xy / (drop * lamp_map.y);
    if (drop <= 0.05 || max(abs(at.x), abs(at.y)) > 0.995) return 1.0;
    float edge = lamp_map.x;
    vec2 tile = vec2(mod(float(lamp), edge), floor(float(lamp) / edge));
    return texture(lamp_shadow, vec3((tile + 0.5 + 0.5 * at) / edge, lamp_map.z - lamp_map.w / (drop - 0.01)));
}
#endif

// Light leaving a surface towards the eye, linear. to_lamp.w is 1 / reach^2, huge where no lamp belongs to the surface;
// gloss is the strength of the highlight.
vec3 lit(vec3 albedo, float gloss, vec3 n, vec3 to_eye, vec4 to_lamp, int lamp, vec3 sun_at) {
    vec3 light = mix(ground_color, sky_color, 0.5 + 0.5 * n.z);
    float sun = max(dot(n, sun_direction), 0.0);
    float squared = dot(to_lamp.xyz, to_lamp.xyz);
    float inverse = inversesqrt(squared + 1e-6);
    float facing = dot(n, to_lamp.xyz) * inverse;
    float strength = max(facing, 0.0) / (1.0 + squared * to_lamp.w);
#ifdef SHADOWS
    if (sun > 0.0) sun *= texture(sun_shadow, sun_at);
    if (strength > 0.0) strength *= lamp_visibility(to_lamp.xyz - n * SHADOW_LIFT_M, lamp);
#endif
    light += sun * sun_color;
    // The highlight is the 32nd power of the cosine between n and half_way, both ways' sum, whose square is 2 + 2 cos.
    float inverse_eye = inversesqrt(dot(to_eye, to_eye) + 1e-6);
    float shine = max(facing + dot(n, to_eye) * inverse_eye, 0.0);
    shine = shine * shine / (2.0 + 2.0 * dot(to_lamp.xyz, to_eye) * inverse * inverse_eye + 1e-6);
    shine *= shine; shine *= shine; shine *= shine; shine *= shine;
    return albedo * (light + strength * lamp_color) + (gloss * shine * strength) * lamp_color;
}

vec3 background(float up) {
    return mix(horizon_color, zenith_color, clamp(up, 0.0, 1.0));
}
