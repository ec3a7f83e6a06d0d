// Constants of surfaces that vertex and fragment shaders need.

#define NO_LAMP 1e12  // 1 / reach^2 of a lamp that lights nothing

float gloss_of(float roughness) { return GLOSS * (1.0 - roughness) * (1.0 - roughness); }
