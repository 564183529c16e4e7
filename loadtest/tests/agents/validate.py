"""Holds manifests against the schemas of Kubernetes, strictly: a field that is not known is wrong.

Prints the documents as JSON; exits with 1 and says where, if one is wrong.
"""

import json
import sys

import kubernetes_validate
import yaml

# The oldest that somebody may still run, and the newest that is known.
VERSIONS = ["1.29", kubernetes_validate.latest_version()]


def main() -> None:
    documents = []
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            documents_here = list(yaml.safe_load_all(file))
        for document in documents_here:
            for version in VERSIONS:
                try:
                    kubernetes_validate.validate(document, version, strict=True)
                except kubernetes_validate.ValidationError as error:
                    where = ".".join(str(step) for step in error.path)
                    sys.exit(f"{path}: {where}: {error.message} (Kubernetes {version})")
        documents += documents_here
    json.dump(documents, sys.stdout)


main()
