"""Stagers whose previews run on the cluster."""

from tests.integration.conftest import app_image, make_stager

__all__ = ["app_image", "make_stager"]
