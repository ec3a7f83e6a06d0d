flat in int triangle;
layout(location = 0) out int out_triangle;
void main() { out_triangle = triangle; }
