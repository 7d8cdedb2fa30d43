#!/usr/bin/env python3
"""layers.py FOLDER LAYERS MIBS   writes an OCI image layout: LAYERS layers, together MIBS MiB of files

The files are those of this machine's /usr, in the order of their names, each layer's in a folder of
its own; when they are used up, it begins anew. Layers are compressed by gzip at level 6, as
`docker push` and `podman push` do. The image's tag is "latest".
"""
import gzip
import hashlib
import io
import json
import os
import sys
import tarfile


def main(folder, count, mib):
    blobs = os.path.join(folder, "blobs", "sha256")
    os.makedirs(blobs)

    def store(content):
        digest = hashlib.sha256(content).hexdigest()
        with open(os.path.join(blobs, digest), "wb") as file:
            file.write(content)
        return {"digest": "sha256:" + digest, "size": len(content)}

    files = endless("/usr")
    layers, diff_ids = [], []
    for number in range(count):
        plain = layer(files, f"layer{number}", (mib << 20) // count)
        diff_ids.append("sha256:" + hashlib.sha256(plain).hexdigest())
        packed = gzip.compress(plain, 6, mtime=0)
        layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", **store(packed)})
    config = {"architecture": "amd64", "os": "linux", "config": {},
              "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                           **store(json.dumps(config).encode())},
                "layers": layers}
    index = {"schemaVersion": 2, "manifests": [{
        "mediaType": manifest["mediaType"], **store(json.dumps(manifest).encode()),
        "annotations": {"org.opencontainers.image.ref.name": "latest"}}]}
    for name, content in [("index.json", index), ("oci-layout", {"imageLayoutVersion": "1.0.0"})]:
        with open(os.path.join(folder, name), "w") as file:
            json.dump(content, file)


def endless(top):
    """Paths of the regular files below `top`, again and again."""
    while True:
        for folder, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path):
                    yield path


def layer(files, below, size):
    """A tar archive with at least `size` bytes of the next files."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.PAX_FORMAT) as tar:
        while size > 0:
            path = next(files)
            entry = tarfile.TarInfo(below + path)
            entry.mode = 0o644
            entry.mtime = 1700000000
            with open(path, "rb") as file:
                content = file.read(32 << 20)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
            size -= len(content)
    return archive.getvalue()


main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
