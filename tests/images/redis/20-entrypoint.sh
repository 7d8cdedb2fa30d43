cat >/usr/local/bin/docker-entrypoint.sh <<'SH'
#!/bin/sh
# As in the official image: the server gives up root before it starts.
set -e
if [ "$1" = redis-server ] && [ "$(id -u)" = 0 ]; then
	find . \! -user redis -exec chown redis '{}' +
	exec setpriv --reuid redis --regid redis --clear-groups "$0" "$@" --protected-mode no
fi
umask 0077
exec "$@"
SH
chmod 755 /usr/local/bin/docker-entrypoint.sh
mkdir /data && chown redis:redis /data
