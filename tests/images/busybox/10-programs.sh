mkdir -p bin etc tmp root var www
cp "$SAMPAN_ROOT/bin/busybox" bin/busybox
for applet in $(bin/busybox --list); do
	[ "$applet" = busybox ] || ln -s busybox "bin/$applet"
done
chmod 1777 tmp
printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'web:x:1000:1000:web:/:/bin/sh' >etc/passwd
printf '%s\n' 'root:x:0:' 'web:x:1000:' 'extra:x:2000:web' >etc/group
