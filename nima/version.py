"""Holds the package's version, which must be the same on the laptop and in the image on the providers."""

VERSION = "0.1.0"
