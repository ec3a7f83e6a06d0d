// One pixel of a panorama: which triangle do the cube faces show around its direction, and where exactly does the
// pixel's own ray meet it. Range, normal, colour and id are those of the ray, not of the nearest face pixel.
// Drawn twice: first the pixels whose neighbours in the atlas agree, then, with EDGES, what the depth test left over:
// a software driver computes both sides of a branch, but nothing for pixels that fail an early depth test.

#define SLOTS 8
uniform sampler2D pixel_direction;   // camera axes, unit
uniform sampler2D atlas_position;    // in atlas pixels
uniform isampler2D atlas;           // triangle + 1, 0 nothing
uniform sampler2D triangle_rows;     // per triangle: plane, texture u and v, weights of corners 1 and 2, shading normal
uniform usampler2D triangle_looks;   // per triangle: colours, unused, (lamp + 1) | smooth << 16
uniform mat3 world_from_camera;
uniform vec3 eye;
uniform float pixel_rad;
#ifdef OUT_RGB
uniform vec4 lamps[MAX_LAMPS];
#ifdef SHADOWS
uniform mat4 sun_from_world;
#endif
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

vec4 row_of(int triangle, int slot) {
    return texelFetch(triangle_rows, ivec2((triangle & 255) * SLOTS + slot, triangle >> 8), 0);
}

float range_to(vec4 plane, vec3 direction) {
    return (plane.w - dot(plane.xyz, eye)) / dot(plane.xyz, direction);
}

// Range at which the ray meets a triangle, or a huge number.
float hit_range(int triangle, vec3 direction) {
    if (triangle < 0) return 1e30;
    float range = range_to(row_of(triangle, 0), direction);
    vec4 point = vec4(eye + range * direction, 1.0);
    float b = dot(row_of(triangle, 3), point);
    float c = dot(row_of(triangle, 4), point);
    bool inside = min(min(b, c), 1.0 - b - c) >= -1e-4 && range > 0.0;
    return inside ? range : 1e30;
}

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy);
    vec3 direction = world_from_camera * texelFetch(pixel_direction, pixel, 0).xyz;
    vec2 at = texelFetch(atlas_position, pixel, 0).xy - 0.5;
    ivec2 corner = ivec2(floor(at));
    int t00 = texelFetch(atlas, corner, 0).r - 1;
    int t10 = texelFetch(atlas, corner + ivec2(1, 0), 0).r - 1;
    int t01 = texelFetch(atlas, corner + ivec2(0, 1), 0).r - 1;
    int t11 = texelFetch(atlas, corner + ivec2(1, 1), 0).r - 1;
    bvec2 beyond = greaterThanEqual(at - vec2(corner), vec2(0.5));
    int triangle = beyond.y ? (beyond.x ? t11 : t01) : (beyond.x ? t10 : t00);
    bool mixed = t00 != t10 || t00 != t01 || t00 != t11;
#ifdef EDGES
    if (mixed) {
        float best = hit_range(t00, direction);
        if (best < 1e29) triangle = t00;
        float range = hit_range(t10, direction);
        if (range < best) { best = range; triangle = t10; }
        range = hit_range(t01, direction);
        if (range < best) { best = range; triangle = t01; }
        range = hit_range(t11, direction);
        if (range < best) { best = range; triangle = t11; }
        if (best > 1e29 && min(min(t00, t10), min(t01, t11)) < 0) triangle = -1;
    }
#else
    if (mixed) discard;
#endif

    if (triangle < 0) {
#ifdef OUT_RGB
        out_rgb = vec4(to_display(background(direction.z)), 1.0);
#endif
#ifdef OUT_DEPTH
        out_inverse_depth = 0.0;
#endif
#ifdef OUT_TRIANGLE
        out_triangle = 0;
#endif
        return;
    }

#ifdef OUT_TRIANGLE
    out_triangle = ((triangle + 1) & 255) | ((triangle + 1) >> 8) << 16;
#endif
#if defined(OUT_RGB) || defined(OUT_DEPTH)
    vec4 plane = row_of(triangle, 0);
    float range = range_to(plane, direction);
#ifdef OUT_DEPTH
    out_inverse_depth = 1.0 / range;
#endif
#endif
#ifdef OUT_RGB
    uvec4 look = texelFetch(triangle_looks, ivec2(triangle & 255, triangle >> 8), 0);
    vec4 point = vec4(eye + range * direction, 1.0);
    vec4 row_u = row_of(triangle, 1);
    vec4 row_v = row_of(triangle, 2);
    float steepest = sqrt(max(dot(row_u.xyz, row_u.xyz), dot(row_v.xyz, row_v.xyz)));
    float texels = TILE_PX * pixel_rad * range * steepest / max(-dot(plane.xyz, direction), 0.05);
    vec3 at_tile = vec3(dot(row_u, point), dot(row_v, point), float(look.y >> 24));
    vec4 color1 = unpackUnorm4x8(look.x);
    vec3 albedo = albedo_of(textureLod(tile_texture, at_tile, log2(texels)), color1.rgb, unpackUnorm4x8(look.y).rgb);
    vec3 n = plane.xyz;
    if ((look.w >> 16) != 0u) {
        n = vec3(dot(row_of(triangle, 5), point), dot(row_of(triangle, 6), point), dot(row_of(triangle, 7), point));
        n *= inversesqrt(dot(n, n) + 1e-12);
    }
    int lamp = int(look.w & 65535u) - 1;
    vec4 to_lamp = lamp < 0 ? vec4(0.0, 0.0, 1.0, NO_LAMP) : vec4(lamps[lamp].xyz - point.xyz, lamps[lamp].w);
#ifdef SHADOWS
    vec3 sun_at = (sun_from_world * vec4(point.xyz + plane.xyz * SHADOW_LIFT_M, 1.0)).xyz;
#else
    vec3 sun_at = vec3(0.0);
#endif
    out_rgb = vec4(to_display(lit(albedo, gloss_of(color1.a), n, -direction, to_lamp, lamp, sun_at)), 1.0);
#endif
}
