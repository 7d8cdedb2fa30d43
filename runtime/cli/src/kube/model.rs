//! The Kubernetes objects that can be played, field by field: a table.
//!
//! Names and meanings are those of the Kubernetes API reference, v1 and apps/v1. A field that stands here is
//! honoured or refused by [`super::plan`]; the lists behind each object say what has no effect on a single host.

use std::collections::BTreeMap;

use super::read::{Flag, Number, Scalar, Text, object};

object! {
    /// `metadata`.
    Meta {
        /// The object's name.
        name: Option<Text> = "name",
        /// Labels.
        labels: BTreeMap<String, Text> = "labels",
        /// Annotations.
        annotations: BTreeMap<String, Text> = "annotations",
    }
    noted [] silent [
        "namespace" "creationTimestamp" "uid" "resourceVersion" "generateName" "managedFields" "ownerReferences"
        "finalizers" "generation" "selfLink"
    ]
}

object! {
    /// A Pod.
    Pod {
        /// Its name, labels and annotations.
        metadata: Meta = "metadata",
        /// What it is.
        spec: PodSpec = "spec",
    }
    noted [] silent ["kind" "apiVersion" "status"]
}

object! {
    /// A Deployment, a DaemonSet, a StatefulSet or a Job: something that makes pods.
    Workload {
        /// Its name, labels and annotations.
        metadata: Meta = "metadata",
        /// What it makes.
        spec: WorkloadSpec = "spec",
    }
    noted [] silent ["kind" "apiVersion" "status"]
}

object! {
    /// `spec` of a workload.
    WorkloadSpec {
        /// How many pods.
        replicas: Option<Number> = "replicas",
        /// The pod.
        template: Pod = "template",
    }
    noted [
        "backoffLimit" "completions" "parallelism" "activeDeadlineSeconds" "ttlSecondsAfterFinished" "suspend"
        "completionMode" "volumeClaimTemplates" "paused" "podFailurePolicy"
    ] silent [
        "selector" "strategy" "updateStrategy" "revisionHistoryLimit" "progressDeadlineSeconds" "minReadySeconds"
        "serviceName" "podManagementPolicy" "manualSelector" "persistentVolumeClaimRetentionPolicy"
    ]
}

object! {
    /// `spec` of a pod.
    PodSpec {
        /// Its host name; the pod's own name if absent.
        hostname: Option<Text> = "hostname",
        /// It uses the host's network.
        host_network: Option<Flag> = "hostNetwork",
        /// It sees the host's processes.
        host_pid: Option<Flag> = "hostPID",
        /// It uses the host's IPC.
        host_ipc: Option<Flag> = "hostIPC",
        /// false: a user namespace of its own.
        host_users: Option<Flag> = "hostUsers",
        /// Its containers see each other's processes.
        share_process_namespace: Option<Flag> = "shareProcessNamespace",
        /// Lines of /etc/hosts.
        host_aliases: Vec<HostAlias> = "hostAliases",
        /// Lines of resolv.conf.
        dns_config: Option<DnsConfig> = "dnsConfig",
        /// Where name servers come from.
        dns_policy: Option<Text> = "dnsPolicy",
        /// What becomes of a container that has ended.
        restart_policy: Option<Text> = "restartPolicy",
        /// How long a stop may take.
        termination_grace_period: Option<Number> = "terminationGracePeriodSeconds",
        /// Users and groups of all containers.
        security_context: Option<PodSecurity> = "securityContext",
        /// What containers can mount.
        volumes: Vec<Volume> = "volumes",
        /// What runs before, one after the other.
        init_containers: Vec<Container> = "initContainers",
        /// What runs.
        containers: Vec<Container> = "containers",
    }
    noted [
        "affinity" "nodeSelector" "nodeName" "tolerations" "imagePullSecrets" "activeDeadlineSeconds" "subdomain"
        "setHostnameAsFQDN" "runtimeClassName" "overhead" "readinessGates" "topologySpreadConstraints"
        "ephemeralContainers" "os" "resources" "resourceClaims" "schedulingGates"
    ] silent [
        "serviceAccountName" "serviceAccount" "automountServiceAccountToken" "enableServiceLinks" "schedulerName"
        "priority" "priorityClassName" "preemptionPolicy"
    ]
}

object! {
    /// A line of /etc/hosts.
    HostAlias {
        /// The address.
        ip: Option<Text> = "ip",
        /// Its names.
        hostnames: Vec<Text> = "hostnames",
    }
    noted [] silent []
}

object! {
    /// `dnsConfig`.
    DnsConfig {
        /// Name servers.
        nameservers: Vec<Text> = "nameservers",
        /// Search domains.
        searches: Vec<Text> = "searches",
        /// Options.
        options: Vec<DnsOption> = "options",
    }
    noted [] silent []
}

object! {
    /// An option of resolv.conf(5).
    DnsOption {
        /// Its name.
        name: Option<Text> = "name",
        /// What stands behind the colon.
        value: Option<Text> = "value",
    }
    noted [] silent []
}

object! {
    /// `securityContext` of a pod.
    PodSecurity {
        /// User of all containers.
        run_as_user: Option<Number> = "runAsUser",
        /// Group of all containers.
        run_as_group: Option<Number> = "runAsGroup",
        /// No container may run as root.
        run_as_non_root: Option<Flag> = "runAsNonRoot",
        /// Group that owns the volumes.
        fs_group: Option<Number> = "fsGroup",
        /// Further groups.
        supplemental_groups: Vec<Number> = "supplementalGroups",
        /// Kernel parameters.
        sysctls: Vec<Sysctl> = "sysctls",
        /// The filter of system calls.
        seccomp_profile: Option<Profile> = "seccompProfile",
        /// The AppArmor profile.
        apparmor_profile: Option<Profile> = "appArmorProfile",
    }
    noted ["seLinuxOptions" "windowsOptions" "fsGroupChangePolicy" "supplementalGroupsPolicy" "seLinuxChangePolicy"]
    silent []
}

object! {
    /// A kernel parameter.
    Sysctl {
        /// Its name, with dots.
        name: Option<Text> = "name",
        /// Its value.
        value: Option<Text> = "value",
    }
    noted [] silent []
}

object! {
    /// A profile of seccomp or AppArmor.
    Profile {
        /// `RuntimeDefault`, `Unconfined` or `Localhost`.
        kind: Option<Text> = "type",
        /// The file or the profile's name, with `Localhost`.
        localhost_profile: Option<Text> = "localhostProfile",
    }
    noted [] silent []
}

object! {
    /// A volume of a pod. Exactly one of the kinds is there.
    Volume {
        /// Its name.
        name: Option<Text> = "name",
        /// A path of the host.
        host_path: Option<HostPath> = "hostPath",
        /// An empty directory that lives as long as the pod.
        empty_dir: Option<EmptyDir> = "emptyDir",
        /// The entries of a ConfigMap as files.
        config_map: Option<FilesVolume> = "configMap",
        /// The entries of a Secret as files.
        secret: Option<FilesVolume> = "secret",
        /// A named volume.
        claim: Option<ClaimVolume> = "persistentVolumeClaim",
    }
    noted [] silent []
}

object! {
    /// A path of the host.
    HostPath {
        /// The path.
        path: Option<Text> = "path",
        /// What must be there, or is made.
        kind: Option<Text> = "type",
    }
    noted [] silent []
}

object! {
    /// An empty directory.
    EmptyDir {
        /// `Memory`, or the disk.
        medium: Option<Text> = "medium",
        /// How large it may become.
        size_limit: Option<Scalar> = "sizeLimit",
    }
    noted [] silent []
}

object! {
    /// Entries of a ConfigMap or a Secret as files.
    FilesVolume {
        /// The ConfigMap.
        name: Option<Text> = "name",
        /// The Secret.
        secret_name: Option<Text> = "secretName",
        /// Which entries; all if empty.
        items: Vec<Item> = "items",
        /// The files' mode.
        default_mode: Option<Number> = "defaultMode",
        /// Whether it may be missing.
        optional: Option<Flag> = "optional",
    }
    noted [] silent []
}

object! {
    /// One entry as a file.
    Item {
        /// The entry.
        key: Option<Text> = "key",
        /// The file, below the volume.
        path: Option<Text> = "path",
        /// The file's mode.
        mode: Option<Number> = "mode",
    }
    noted [] silent []
}

object! {
    /// A named volume.
    ClaimVolume {
        /// Its name.
        name: Option<Text> = "claimName",
        /// Nobody writes to it.
        read_only: Option<Flag> = "readOnly",
    }
    noted [] silent []
}

object! {
    /// A container.
    Container {
        /// Its name, unique in the pod.
        name: Option<Text> = "name",
        /// The image.
        image: Option<Text> = "image",
        /// When the image is fetched.
        image_pull_policy: Option<Text> = "imagePullPolicy",
        /// What replaces the image's entry point.
        command: Vec<Text> = "command",
        /// What replaces the image's command.
        args: Vec<Text> = "args",
        /// The working directory.
        working_dir: Option<Text> = "workingDir",
        /// Variables.
        env: Vec<EnvVar> = "env",
        /// Whole ConfigMaps and Secrets as variables.
        env_from: Vec<EnvFrom> = "envFrom",
        /// Ports.
        ports: Vec<Port> = "ports",
        /// Volumes and their places.
        volume_mounts: Vec<VolumeMount> = "volumeMounts",
        /// Limits.
        resources: Resources = "resources",
        /// Users, capabilities and filters.
        security_context: Security = "securityContext",
        /// A check that restarts the container.
        liveness_probe: Option<Probe> = "livenessProbe",
        /// A check that must succeed before the others begin.
        startup_probe: Option<Probe> = "startupProbe",
        /// What happens at the begin and the end.
        lifecycle: Lifecycle = "lifecycle",
        /// With `Always` an init container goes on beside the others.
        restart_policy: Option<Text> = "restartPolicy",
    }
    noted [
        "readinessProbe" "stdin" "stdinOnce" "tty" "volumeDevices" "resizePolicy" "restartPolicyRules"
    ] silent ["terminationMessagePath" "terminationMessagePolicy"]
}

object! {
    /// A variable.
    EnvVar {
        /// Its name.
        name: Option<Text> = "name",
        /// Its value.
        value: Option<Text> = "value",
        /// Where its value comes from.
        value_from: Option<ValueFrom> = "valueFrom",
    }
    noted [] silent []
}

object! {
    /// Where a value comes from. Exactly one of the sources is there.
    ValueFrom {
        /// An entry of a ConfigMap.
        config_map_key: Option<KeyRef> = "configMapKeyRef",
        /// An entry of a Secret.
        secret_key: Option<KeyRef> = "secretKeyRef",
        /// A field of the pod.
        field: Option<FieldRef> = "fieldRef",
        /// A limit of the container.
        resource_field: Option<ResourceRef> = "resourceFieldRef",
    }
    noted [] silent []
}

object! {
    /// An entry of a ConfigMap or a Secret.
    KeyRef {
        /// The object.
        name: Option<Text> = "name",
        /// The entry.
        key: Option<Text> = "key",
        /// Whether it may be missing.
        optional: Option<Flag> = "optional",
    }
    noted [] silent []
}

object! {
    /// A field of the pod.
    FieldRef {
        /// Its path, such as `metadata.name`.
        path: Option<Text> = "fieldPath",
    }
    noted [] silent ["apiVersion"]
}

object! {
    /// A limit or a request of a container.
    ResourceRef {
        /// Such as `limits.memory`.
        resource: Option<Text> = "resource",
        /// The unit to count in.
        divisor: Option<Scalar> = "divisor",
        /// Another container's.
        container: Option<Text> = "containerName",
    }
    noted [] silent []
}

object! {
    /// All entries of an object as variables.
    EnvFrom {
        /// What is put before the names.
        prefix: Option<Text> = "prefix",
        /// The ConfigMap.
        config_map: Option<ObjectRef> = "configMapRef",
        /// The Secret.
        secret: Option<ObjectRef> = "secretRef",
    }
    noted [] silent []
}

object! {
    /// A ConfigMap or a Secret.
    ObjectRef {
        /// Its name.
        name: Option<Text> = "name",
        /// Whether it may be missing.
        optional: Option<Flag> = "optional",
    }
    noted [] silent []
}

object! {
    /// A port.
    Port {
        /// The port inside.
        container: Option<Number> = "containerPort",
        /// The port of the host; absent or 0: not published.
        host: Option<Number> = "hostPort",
        /// The host's address.
        host_ip: Option<Text> = "hostIP",
        /// `TCP`, `UDP` or `SCTP`.
        protocol: Option<Text> = "protocol",
        /// A name that probes use.
        name: Option<Text> = "name",
    }
    noted [] silent []
}

object! {
    /// A volume and its place.
    VolumeMount {
        /// The volume.
        name: Option<Text> = "name",
        /// The place.
        path: Option<Text> = "mountPath",
        /// A file or a directory of the volume.
        sub_path: Option<Text> = "subPath",
        /// The same with variables.
        sub_path_expr: Option<Text> = "subPathExpr",
        /// Nothing can be written.
        read_only: Option<Flag> = "readOnly",
        /// Whether later mounts reach the other side.
        propagation: Option<Text> = "mountPropagation",
    }
    noted ["recursiveReadOnly"] silent []
}

object! {
    /// Limits and requests.
    Resources {
        /// What can't be exceeded.
        limits: BTreeMap<String, Scalar> = "limits",
        /// What is there at least.
        requests: BTreeMap<String, Scalar> = "requests",
    }
    noted ["claims"] silent []
}

object! {
    /// `securityContext` of a container.
    Security {
        /// Nothing is confined.
        privileged: Option<Flag> = "privileged",
        /// Capabilities.
        capabilities: Capabilities = "capabilities",
        /// Nothing can be written to the root file system.
        read_only_root: Option<Flag> = "readOnlyRootFilesystem",
        /// Its user.
        run_as_user: Option<Number> = "runAsUser",
        /// Its group.
        run_as_group: Option<Number> = "runAsGroup",
        /// It may not run as root.
        run_as_non_root: Option<Flag> = "runAsNonRoot",
        /// false: no_new_privs.
        allow_privilege_escalation: Option<Flag> = "allowPrivilegeEscalation",
        /// `Unmasked`: all of /proc.
        proc_mount: Option<Text> = "procMount",
        /// The filter of system calls.
        seccomp_profile: Option<Profile> = "seccompProfile",
        /// The AppArmor profile.
        apparmor_profile: Option<Profile> = "appArmorProfile",
    }
    noted ["seLinuxOptions" "windowsOptions"] silent []
}

object! {
    /// Capabilities.
    Capabilities {
        /// Given.
        add: Vec<Text> = "add",
        /// Taken.
        drop: Vec<Text> = "drop",
    }
    noted [] silent []
}

object! {
    /// A check.
    Probe {
        /// A program in the container.
        exec: Option<ExecAction> = "exec",
        /// A page.
        http_get: Option<HttpAction> = "httpGet",
        /// A port that can be connected to.
        tcp_socket: Option<TcpAction> = "tcpSocket",
        /// Seconds before the first check.
        initial_delay: Option<Number> = "initialDelaySeconds",
        /// Seconds between checks.
        period: Option<Number> = "periodSeconds",
        /// Seconds that a check may take.
        timeout: Option<Number> = "timeoutSeconds",
        /// Failures in a row that count.
        failure_threshold: Option<Number> = "failureThreshold",
        /// Seconds to end in.
        grace_period: Option<Number> = "terminationGracePeriodSeconds",
    }
    noted ["grpc"] silent ["successThreshold"]
}

object! {
    /// A program.
    ExecAction {
        /// Its words.
        command: Vec<Text> = "command",
    }
    noted [] silent []
}

object! {
    /// A page.
    HttpAction {
        /// The host; localhost if absent.
        host: Option<Text> = "host",
        /// The path.
        path: Option<Text> = "path",
        /// A number, or the name of a port of the container.
        port: Option<Scalar> = "port",
        /// `HTTP` or `HTTPS`.
        scheme: Option<Text> = "scheme",
        /// Headers.
        headers: Vec<HttpHeader> = "httpHeaders",
    }
    noted [] silent []
}

object! {
    /// A header.
    HttpHeader {
        /// Its name.
        name: Option<Text> = "name",
        /// Its value.
        value: Option<Text> = "value",
    }
    noted [] silent []
}

object! {
    /// A port that can be connected to.
    TcpAction {
        /// The host; localhost if absent.
        host: Option<Text> = "host",
        /// A number, or the name of a port of the container.
        port: Option<Scalar> = "port",
    }
    noted [] silent []
}

object! {
    /// What happens at the begin and the end.
    Lifecycle {
        /// The signal that asks the container to end.
        stop_signal: Option<Text> = "stopSignal",
    }
    noted ["postStart" "preStop"] silent []
}

object! {
    /// A ConfigMap.
    ConfigMap {
        /// Its name.
        metadata: Meta = "metadata",
        /// Entries.
        data: BTreeMap<String, Text> = "data",
        /// Entries in base64.
        binary_data: BTreeMap<String, Text> = "binaryData",
    }
    noted [] silent ["kind" "apiVersion" "immutable"]
}

object! {
    /// A Secret.
    Secret {
        /// Its name.
        metadata: Meta = "metadata",
        /// Entries in base64.
        data: BTreeMap<String, Text> = "data",
        /// Entries.
        string_data: BTreeMap<String, Text> = "stringData",
    }
    noted [] silent ["kind" "apiVersion" "immutable" "type"]
}

object! {
    /// A PersistentVolumeClaim: a named volume. How it is made is said by Podman's annotations.
    Claim {
        /// Its name, and `volume.podman.io/…`.
        metadata: Meta = "metadata",
    }
    noted [] silent ["kind" "apiVersion" "spec" "status"]
}
