#!/bin/sh
# Installs the shared libraries that Python wheels can't bring: EGL and Mesa's software driver for the rasteriser,
# and what Open3D is linked against. As root with apt it installs what is missing; otherwise it says what to install.
set -eu

missing=""
need() { # need SONAME PACKAGE
    ldconfig -p | grep -q "$1" || missing="$missing $2"
}
need libEGL.so.1 libegl1
need libEGL_mesa.so.0 libegl-mesa0
need libGL.so.1 libgl1
[ -n "$(find /usr/lib /usr/lib64 \( -name 'swrast_dri.so' -o -name 'libgallium*.so' \) 2>/dev/null | head -1)" ] ||
    missing="$missing libgl1-mesa-dri"
need libusb-1.0.so.0 libusb-1.0-0
need libX11.so.6 libx11-6
need libudev.so.1 libudev1
need libidn2.so.0 libidn2-0
python3 -m ensurepip --version >/dev/null 2>&1 || missing="$missing python3-venv"

[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "installing system libraries:$missing" >&2
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "error: missing system libraries; run: sudo apt-get install$missing   (then repeat this command)" >&2
    exit 1
fi
