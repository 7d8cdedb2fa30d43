# The page and the server that the tests fetch from; access and error log go where the
# program's standard error goes, by the descriptor itself.
rm -f /etc/nginx/sites-enabled/default /var/www/html/index.nginx-debian.html
mkdir -p /usr/share/nginx/html
echo '<h1>Welcome to nginx!</h1>' >/usr/share/nginx/html/index.html
cat >/etc/nginx/conf.d/default.conf <<'CONF'
server {
    listen 80;
    listen [::]:80;
    location / { root /usr/share/nginx/html; index index.html; }
    location /address { return 200 "$remote_addr\n"; }
}
CONF
sed -i -e 's|access_log .*;|access_log off;|' -e 's|error_log .*;|error_log stderr notice;|' /etc/nginx/nginx.conf
