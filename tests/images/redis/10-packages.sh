apt-get install --yes --no-install-recommends redis-server
