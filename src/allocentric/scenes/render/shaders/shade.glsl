// How a surface looks. The NumPy twin is shading.py; both take the same constants from lights.py.

uniform sampler2DArray tile_texture;
uniform vec3 sun_direction;
uniform vec3 sun_color;
uniform vec3 sky_color;
uniform vec3 ground_color;
uniform vec3 lamp_color;
uniform vec3 horizon_color;
uniform vec3 zenith_color;
uniform vec4 display_curve;  // exposure, white, white + shoulder, gloss
#ifdef SHADOWS
uniform sampler2DShadow sun_shadow;
uniform sampler2DShadow lamp_shadow;
uniform vec4 lamp_map;  // tiles along an edge of the atlas, largest tangent in a tile, a and b of depth = a - b / drop
#endif

vec3 to_linear(vec3 encoded) { return encoded * encoded; }

vec3 to_display(vec3 light) {
    vec3 x = light * display_curve.x;
    return sqrt(clamp(x * (1.0 + display_curve.y * x) / (1.0 + display_curve.z * x), 0.0, 1.0));
}

// Colour of the material at a texel: see textures.py for the channels.
vec3 albedo_of(vec4 texel, uint packed1, uint packed2) {
    vec3 color = mix(unpackUnorm4x8(packed1).rgb, unpackUnorm4x8(packed2).rgb, texel.r);
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

// Light leaving a surface towards the eye, linear. to_lamp.w is 1 / reach^2, 0 where no lamp belongs to the surface.
vec3 lit(vec3 albedo, float gloss, vec3 n, vec3 to_eye, vec4 to_lamp, int lamp, vec3 sun_at) {
    vec3 light = mix(ground_color, sky_color, 0.5 + 0.5 * n.z);
    float sun = max(dot(n, sun_direction), 0.0);
    float squared = dot(to_lamp.xyz, to_lamp.xyz);
    float inverse = inversesqrt(squared + 1e-6);
    float facing = max(dot(n, to_lamp.xyz) * inverse, 0.0);
    float strength = facing * step(1e-9, to_lamp.w) / (1.0 + squared * to_lamp.w);
#ifdef SHADOWS
    if (sun > 0.0) sun *= texture(sun_shadow, sun_at);
    if (strength > 0.0) strength *= lamp_visibility(to_lamp.xyz - n * SHADOW_LIFT_M, lamp);
#endif
    light += sun * sun_color;
    vec3 half_way = to_lamp.xyz * inverse + to_eye * inversesqrt(dot(to_eye, to_eye) + 1e-6);
    float shine = max(dot(n, half_way) * inversesqrt(dot(half_way, half_way) + 1e-6), 0.0);
    shine *= shine; shine *= shine; shine *= shine; shine *= shine; shine *= shine;
    return albedo * (light + strength * lamp_color) + (gloss * gloss * display_curve.w * shine * strength) * lamp_color;
}

vec3 background(float up) {
    return mix(horizon_color, zenith_color, clamp(up, 0.0, 1.0));
}
