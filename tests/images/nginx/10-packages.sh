apt-get install --yes --no-install-recommends nginx-light
