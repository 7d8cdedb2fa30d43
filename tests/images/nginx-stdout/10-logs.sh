# As the official image does it: the log files are links to the program's own output.
ln -sf /dev/stdout /var/log/nginx/access.log
ln -sf /dev/stderr /var/log/nginx/error.log
sed -i -e 's|access_log .*;|access_log /var/log/nginx/access.log;|' \
	-e 's|error_log .*;|error_log /var/log/nginx/error.log notice;|' /etc/nginx/nginx.conf
