//! What templates written for Podman rely on, one case a line.

use serde_json::{Value, json};

use super::Template;

fn container() -> Value {
    json!({
        "Id": "0123456789abcdef",
        "Name": "web",
        "Names": ["web", "www"],
        "State": {"Status": "running", "Pid": 42, "Running": true, "ExitCode": 0, "Health": null},
        "Config": {"Labels": {"a": "1", "io.b/c": "2"}, "Env": ["A=1", "B=2"], "Cmd": []},
        "NetworkSettings": {
            "Networks": {"front": {"IPAddress": "10.90.0.2"}, "back": {"IPAddress": "10.90.1.2"}},
            "Ports": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
        },
        "Mounts": [{"Source": "/a", "Destination": "/b"}, {"Source": "/c", "Destination": "/d"}],
        "host_ip": "127.0.0.1",
    })
}

fn render(template: &str) -> Result<String, super::Error> {
    Template::parse(template)?.render(&container())
}

#[track_caller]
fn gives(template: &str, text: &str) {
    assert_eq!(render(template).unwrap(), text, "{template}");
}

#[track_caller]
fn fails(template: &str, part: &str) {
    let error = render(template).unwrap_err().to_string();
    assert!(error.contains(part), "{template}: {error}");
}

#[test]
fn fields() {
    gives("{{.State.Status}}", "running");
    gives("{{ .Name }}: {{ .State.Pid }}", "web: 42");
    gives("{{.State.Running}}", "true");
    gives("{{.Names}}", "[web www]");
    gives("{{.Config.Labels}}", "map[a:1 io.b/c:2]");
    gives("{{.Config.Labels.a}}", "1");
    gives("no action", "no action");
    gives("", "");
}

#[test]
fn go_names_and_json_names_both_work() {
    gives("{{.ID}}{{.Id}}", "0123456789abcdef0123456789abcdef");
    gives("{{.HostIP}}", "127.0.0.1");
    gives("{{range .Mounts}}{{.Src}}:{{.Dst}} {{end}}", "/a:/b /c:/d ");
}

#[test]
fn a_missing_field_is_named_with_its_neighbours() {
    fails("{{.Nmae}}", "no field .Nmae; there are: .Config .Id .Mounts .Name ");
    fails("{{.State.Statsu}}", ".Status");
    fails("{{.Name.First}}", "no field .First in a string");
    fails("{{.State.Health.Status}}", "no field .Status in nil");
}

#[test]
fn a_missing_key_of_a_map_is_no_value() {
    gives("{{.Config.Labels.nothing}}", "<no value>");
    gives("[{{index .Config.Labels \"nothing\"}}]", "[]");
    gives("{{with .NetworkSettings.Networks.none}}yes{{else}}no{{end}}", "no");
}

#[test]
fn range() {
    gives("{{range .Names}}<{{.}}>{{end}}", "<web><www>");
    gives("{{range $i, $n := .Names}}{{$i}}={{$n}} {{end}}", "0=web 1=www ");
    gives("{{range $n := .Names}}{{$n}} {{end}}", "web www ");
    gives("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "a=1;io.b/c=2;");
    gives("{{range .Config.Cmd}}x{{else}}none{{end}}", "none");
    gives("{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}", "10.90.1.2 10.90.0.2 ");
    gives("{{range 3}}{{.}}{{end}}", "012");
    gives("{{range .Names}}{{$.Name}}/{{.}} {{end}}", "web/web web/www ");
    gives("{{range .Names}}{{if eq . \"www\"}}{{break}}{{end}}{{.}}{{end}}", "web");
    gives("{{range .Names}}{{if eq . \"web\"}}{{continue}}{{end}}{{.}}{{end}}", "www");
    gives(
        "{{range $p, $c := .NetworkSettings.Ports}}{{$p}} -> {{(index $c 0).HostPort}}{{end}}",
        "80/tcp -> 8080",
    );
    fails("{{range .Name}}{{end}}", "cannot go over a string");
}

#[test]
fn conditions() {
    gives("{{if .State.Running}}up{{else}}down{{end}}", "up");
    gives("{{if .State.Health}}h{{else}}none{{end}}", "none");
    gives("{{if .State.ExitCode}}a{{else if .Config.Cmd}}b{{else if .Name}}c{{else}}d{{end}}", "c");
    gives("{{with .State}}{{.Pid}}{{end}}", "42");
    gives("{{with $x := .State.Pid}}{{$x}}{{.}}{{end}}", "4242");
    gives("{{with .State.Health}}a{{else with .Name}}{{.}}{{end}}", "web");
    gives("{{if and .State.Running (eq .State.Status \"running\")}}y{{end}}", "y");
    gives("{{if not .State.Running}}y{{else}}n{{end}}", "n");
    gives("{{and .Name .State.Pid}} {{or .State.ExitCode .Name}}", "42 web");
    gives("{{or .Name .Nothing.At.All}}", "web");
}

#[test]
fn comparisons() {
    gives("{{eq .State.Pid 42}} {{ne .State.Pid 42}} {{lt 1 2}} {{le 2 2}}", "true false true true");
    gives("{{gt .State.Pid 41}} {{ge 1 2}} {{eq .Name \"a\" \"web\"}}", "true false true");
    gives("{{eq .State.Health nil}} {{eq 1 1.0}} {{lt \"a\" \"b\"}}", "true true true");
    fails("{{eq .Name 1}}", "cannot compare a string with a int");
    fails("{{lt .Names 1}}", "cannot compare a list");
}

#[test]
fn functions() {
    gives("{{json .Config.Labels}}", r#"{"a":"1","io.b/c":"2"}"#);
    gives("{{json .Name}} {{json .Names}} {{json .State.Health}}", r#""web" ["web","www"] null"#);
    gives("{{join .Names \", \"}}", "web, www");
    gives("{{upper .Name}} {{lower \"ABC\"}} {{title \"hello big world\"}}", "WEB abc Hello Big World");
    gives("{{len .Names}} {{len .Name}} {{len .Config.Labels}}", "2 3 2");
    gives("{{index .Names 1}} {{index .Config.Labels \"io.b/c\"}}", "www 2");
    gives("{{(index .Mounts 1).Source}}", "/c");
    gives("{{printf \"%s is %d (%q)\" .Name .State.Pid .State.Status}}", "web is 42 (\"running\")");
    gives("{{printf \"%.12s\" .Id}}", "0123456789ab");
    gives("{{index (split (index .Config.Env 0) \"=\") 1}}", "1");
    gives("{{println .Name 1}}", "web 1\n");
    gives("{{print 1 2 \"a\" 3}}", "1 2a3");
    gives("{{slice .Id 0 4}} {{truncate .Id 3}} [{{pad .Name 1 2}}]", "0123 012 [ web  ]");
    gives("{{index .Name 1}} {{print nil 1.5 \"a\"}}", "101 <nil> 1.5a");
    fails("{{index .Names 7}}", "beyond the end of a list of 2");
    fails("{{frob .Name}}", "no function \"frob\"; there are: and, eq,");
    fails("{{upper .State.Pid}}", "upper: wants a string, not a int");
    fails("{{len}}", "len takes 1 arguments, not 0");
    fails("{{join .Names}}", "join takes 2 arguments, not 1");
}

#[test]
fn pipelines_and_variables() {
    gives("{{.Name | upper}}", "WEB");
    gives("{{.Name | printf \"%s-%s\" \"a\"}}", "a-web");
    gives("{{.Names | json | len}}", "13");
    gives("{{$x := .Name}}{{$x}}{{$x = \"b\"}}{{$x}}", "webb");
    gives("{{$s := .State}}{{$s.Status}} {{$.Name}}", "running web");
    gives("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21");
    gives("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2");
    fails("{{$y}}", "no variable $y");
    fails("{{$y = 1}}", "no variable $y");
    fails("{{.Name | 5}}", "only a function");
}

#[test]
fn a_map_can_be_called_with_a_key() {
    gives("{{.Config.Labels \"io.b/c\"}}", "2");
    gives("[{{.Config.Labels \"none\"}}]", "[]");
    fails("{{.Name \"x\"}}", ".Name takes no arguments");
}

#[test]
fn white_space_and_comments() {
    gives("a {{- .Name -}} b", "awebb");
    gives("a\n{{- /* why */ -}}\nb", "ab");
    gives("{{/* nothing */}}x", "x");
    gives("{{range .Names -}}\n  {{.}}\n{{- end}}", "webwww");
    gives("{{\n.Name\n}}", "web");
    gives("}} {", "}} {");
}

#[test]
fn mistakes_say_where() {
    fails("{{if .Name}}x", "{{if}} without {{end}}");
    fails("x{{end}}", "at character 2: {{end}} without");
    fails("{{else}}", "{{else}} without");
    fails("{{if .Name}}{{else}}{{else}}{{end}}", "a second {{else}}");
    fails("{{range .Names}}{{else if .}}{{end}}", "cannot stand behind");
    fails("{{}}", "a value is missing");
    fails("{{if}}{{end}}", "a value is missing");
    fails("{{(.Name}}", "( without )");
    fails("{{.Name)}}", ") without (");
    fails("{{.Name", "{{ without }}");
    fails("{{\"a\" .Name}}", "behind what is no function");
    fails("{{break}}", "outside {{range}}");
    fails("{{template \"x\"}}", "not supported");
    fails("{{.Name | }}", "a value is missing");
    fails("{{\"a\"\"b\"}}", "white space is missing");
}

#[test]
fn headings_are_the_names_of_the_fields() {
    let heading =
        |template: &str| Template::parse(template).unwrap().heading(&[("ID", "CONTAINER ID")]).unwrap();
    assert_eq!(heading("{{.ID}}\t{{.Names}}"), "CONTAINER ID\tNAMES");
    assert_eq!(heading("{{.CreatedSince}}\t{{.IPAddress}}"), "CREATED SINCE\tIP ADDRESS");
    assert_eq!(heading("{{if .Tag}}{{.Tag}}{{end}}\t{{upper .Name}}"), "TAG\tNAME");
    assert_eq!(heading("{{.State.Status}}"), "STATUS");
}

#[test]
fn hostile_templates_end_with_an_error() {
    fails("{{range 9999999}}{{end}}", "cannot go over a int");
    gives("{{len (printf \"%99999999d\" 1)}}", "4096");
    let nested = format!("{{{{{}1{}}}}}", "(".repeat(5000), ")".repeat(5000));
    fails(&nested, "too deep");
}
