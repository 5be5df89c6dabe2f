#!/usr/bin/env bash
# build-llama-server.sh FOLDER: builds llama.cpp's own server from the sources inside node-llama-cpp against the binaries inside
# it, so that both sides of a comparison compute with the very same library. Two minutes on two cores, since only the
# server's own files are compiled. Prints the path of the program; does nothing when it is there already.
set -euo pipefail
out=$1
root=$(cd "$(dirname "$0")/.." && pwd)
bundle="$root/node_modules/node-llama-cpp/llama/gitRelease.bundle"
libraries=$(dirname "$(ls "$root"/node_modules/@node-llama-cpp/linux-"$(uname -m | sed 's/x86_64/x64/;s/aarch64/arm64/')"/bins/*/libllama-common.so)")
mkdir -p "$out" && out=$(cd "$out" && pwd)
program="$out/bin/llama-server"
[ -x "$program" ] && { echo "$program"; exit 0; }

source="$out/llama.cpp"
[ -d "$source" ] || git clone --quiet -c advice.detachedHead=false "$bundle" "$source"
objects="$out/objects"
mkdir -p "$objects/ui"
# The server's page is not wanted: this writes the ui.h that says so.
g++ -O1 -std=c++17 -o "$objects/embed" "$source/tools/ui/embed.cpp"
"$objects/embed" "$objects/ui/ui.cpp" "$objects/ui/ui.h"

flags=(-g0 -w -std=c++17 -fPIC -DNDEBUG -DGGML_BACKEND_SHARED -DGGML_SHARED -DGGML_USE_CPU -DLLAMA_SHARED -DLLAMA_SUBPROCESS)
for folder in . tools/server tools/mtmd common vendor include ggml/include; do flags+=("-I$source/$folder"); done
flags+=("-I$objects/ui")
cd "$source"
compile() { printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} sh -c 'g++ "$@" -c "{}" -o "'"$objects"'/$(basename "{}" .cpp).o"' compile "${flags[@]}" "$level"; }
level=-O1 compile tools/server/*.cpp vendor/cpp-httplib/httplib.cpp vendor/hash/hash.cpp "$objects/ui/ui.cpp"
# Pictures and sound: linked, never reached by a text model.
level=-O0 compile $(ls tools/mtmd/*.cpp tools/mtmd/models/*.cpp | grep -v -e mtmd-cli -e deprecation)
gcc -O1 -w -fPIC -Ivendor/hash -c vendor/hash/sha256/sha256.c -o "$objects/sha256.o"
# It looks for the library of this processor beside itself.
mkdir -p "$out/bin" && cp "$libraries"/*.so "$out/bin/"
g++ -o "$program" "$objects"/*.o -L"$out/bin" -lllama-common -l:"$(basename "$out"/bin/libllama.v*)" -l:"$(basename "$out"/bin/libggml.v*)" -lggml-base \
  -lpthread -ldl -Wl,-rpath,'$ORIGIN'
echo "$program"
