mkdir -p bin etc tmp root var www
for place in bin sbin usr/bin usr/sbin; do
	[ ! -x "$SAMPAN_ROOT/$place/busybox" ] || cp "$SAMPAN_ROOT/$place/busybox" bin/busybox
done
for applet in $(bin/busybox --list); do
	[ "$applet" = busybox ] || ln -s busybox "bin/$applet"
done
chmod 1777 tmp
printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'web:x:1000:1000:web:/:/bin/sh' >etc/passwd
printf '%s\n' 'root:x:0:' 'web:x:1000:' 'extra:x:2000:web' >etc/group
