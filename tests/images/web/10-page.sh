cat >/www/index.html <<'HTML'
<!DOCTYPE html>
<title>sampan</title>
<h1>It floats.</h1>
<p>This page comes from a container whose first process is a child of systemd.</p>
HTML
