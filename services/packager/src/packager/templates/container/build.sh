#!/bin/sh
# Builds the image with the first of docker, podman and buildah that works here.
# ENGINE=podman chooses one, IMAGE=name:tag another name; options are handed on: ./build.sh --build-arg BASE_IMAGE=name:tag
set -eu

image=$${IMAGE:-$quoted_image}
cd -- "$$(dirname -- "$$0")"

works() {
    command -v "$$1" >/dev/null 2>&1 && "$$1" info >/dev/null 2>&1
}

for engine in $${ENGINE:-docker podman buildah}; do
    works "$$engine" || continue
    echo "building $$image with $$engine" >&2
    case $$engine in
        *buildah) exec "$$engine" bud "$$@" -t "$$image" . ;;
        *) exec "$$engine" build "$$@" -t "$$image" . ;;
    esac
done
echo "none of these works here: $${ENGINE:-docker podman buildah}; install one of them and start it" >&2
exit 1
