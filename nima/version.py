"""The package's version: what the laptop and the image on the providers must agree on."""

VERSION = "0.1.0"
