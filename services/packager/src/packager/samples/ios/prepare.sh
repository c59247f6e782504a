#!/bin/sh
# Copies the package's model and its metadata into the app: `sh prepare.sh`, once.
set -eu
cd "$(dirname "$0")"
mkdir -p ModelSample.swiftpm/Model
cp -R ../../metadata.json ../../model.* ModelSample.swiftpm/Model/
