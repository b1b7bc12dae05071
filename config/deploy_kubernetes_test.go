package config

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// closes is what a shutdown takes beyond SHUTDOWN_DELAY and SHUTDOWN_TIMEOUT (protocol,
// section 12).
const closes = 5 * time.Second

// A manifest is what the files of deploy/kubernetes have of an object. Decoding is
// strict, so that a slip in a key is an error.
type manifest struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name        string
		Annotations map[string]string
	}
	Data map[string]string
	Spec struct {
		// Of Deployment and StatefulSet.
		Replicas            int
		ServiceName         string `yaml:"serviceName"`
		PodManagementPolicy string `yaml:"podManagementPolicy"`
		Strategy            any
		UpdateStrategy      any       `yaml:"updateStrategy"`
		Selector            yaml.Node // that of a Service is another one
		Template            struct {
			Metadata struct{ Labels map[string]string }
			Spec     podSpec
		}
		// Of Service and Ingress.
		ClusterIP                string `yaml:"clusterIP"`
		PublishNotReadyAddresses bool   `yaml:"publishNotReadyAddresses"`
		Ports                    []struct {
			Name       string
			Port       int
			TargetPort string `yaml:"targetPort"`
		}
		IngressClassName string `yaml:"ingressClassName"`
		TLS              []struct {
			Hosts      []string
			SecretName string `yaml:"secretName"`
		}
		Rules []struct {
			Host string
			HTTP struct {
				Paths []struct {
					Path     string
					PathType string `yaml:"pathType"`
					Backend  struct {
						Service struct {
							Name string
							Port struct{ Name string }
						}
					}
				}
			}
		}
	}
}

type podSpec struct {
	TerminationGracePeriodSeconds int  `yaml:"terminationGracePeriodSeconds"`
	AutomountServiceAccountToken  bool `yaml:"automountServiceAccountToken"`
	EnableServiceLinks            bool `yaml:"enableServiceLinks"`
	SecurityContext               struct {
		RunAsNonRoot   bool `yaml:"runAsNonRoot"`
		RunAsUser      int  `yaml:"runAsUser"`
		RunAsGroup     int  `yaml:"runAsGroup"`
		SeccompProfile any  `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Containers []struct {
		Name, Image string
		EnvFrom     []struct {
			ConfigMapRef struct{ Name string } `yaml:"configMapRef"`
			SecretRef    any                   `yaml:"secretRef"`
		} `yaml:"envFrom"`
		Env []struct {
			Name, Value string
			ValueFrom   any `yaml:"valueFrom"`
		}
		Ports []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
		}
		Resources struct {
			Requests, Limits map[string]string
		}
		StartupProbe    probe `yaml:"startupProbe"`
		ReadinessProbe  probe `yaml:"readinessProbe"`
		LivenessProbe   probe `yaml:"livenessProbe"`
		SecurityContext struct {
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			Capabilities             struct{ Drop []string }
		} `yaml:"securityContext"`
	}
}

type probe struct {
	HTTPGet          struct{ Path, Port string } `yaml:"httpGet"`
	PeriodSeconds    int                         `yaml:"periodSeconds"`
	FailureThreshold int                         `yaml:"failureThreshold"`
	TimeoutSeconds   int                         `yaml:"timeoutSeconds"`
}

// manifests reads a file of them.
func manifests(t *testing.T, file string) (all []manifest) {
	t.Helper()
	text, err := os.ReadFile("../deploy/kubernetes/" + file)
	if err != nil {
		t.Fatal(err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	for {
		var m manifest
		if err := decoder.Decode(&m); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, m)
	}
}

func ofKind(all []manifest, kind string) (found []manifest) {
	for _, m := range all {
		if m.Kind == kind {
			found = append(found, m)
		}
	}
	return found
}

// What is deployed is read, ends before it is killed, is led no new sessions to before
// it refuses them, and fits into its memory.
func TestKubernetesPods(t *testing.T) {
	for file, kind := range map[string]string{"relays.yaml": "Deployment", "tunnels.yaml": "StatefulSet"} {
		all := manifests(t, file)
		sets, maps := ofKind(all, kind), ofKind(all, "ConfigMap")
		if len(sets) != 1 || len(maps) != 1 || len(sets[0].Spec.Template.Spec.Containers) != 1 {
			t.Fatalf("%s has %d of %s and %d ConfigMaps, want one, of one container", file, len(sets), kind, len(maps))
		}
		pod := sets[0].Spec.Template.Spec
		container := pod.Containers[0]
		var environ []string
		for name, value := range maps[0].Data {
			environ = append(environ, name+"="+value)
		}
		for _, v := range container.Env {
			environ = append(environ, v.Name+"="+strings.ReplaceAll(v.Value, "$(POD_NAME)", "wsproxy-0"))
		}
		for _, pair := range environ {
			if name, _, _ := strings.Cut(pair, "="); !isOurs(name) && name != "GOMEMLIMIT" && name != "POD_NAME" {
				t.Errorf("%s sets %s, which nobody reads", file, name)
			}
		}
		c, err := Load(environ)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if (c.TunnelDomain != "") != (file == "tunnels.yaml") {
			t.Errorf("%s: the domain of tunnels is %q", file, c.TunnelDomain)
		}

		grace := time.Duration(pod.TerminationGracePeriodSeconds) * time.Second
		if longest := c.ShutdownDelay + c.ShutdownTimeout + closes; grace <= longest {
			t.Errorf("%s: killed after %v, and it takes up to %v", file, grace, longest)
		}
		ready, live := container.ReadinessProbe, container.LivenessProbe
		if ready.HTTPGet.Path != "/health" || live.HTTPGet.Path != "/health/live" || container.StartupProbe.HTTPGet.Path != "/health/live" {
			t.Errorf("%s: the probes ask %+v, %+v, %+v", file, container.StartupProbe, ready, live)
		}
		if notices := time.Duration(ready.PeriodSeconds*ready.FailureThreshold+ready.TimeoutSeconds) * time.Second; notices >= c.ShutdownDelay {
			t.Errorf("%s: SHUTDOWN_DELAY is %v, and it takes up to %v until the pod is not ready", file, c.ShutdownDelay, notices)
		}
		ports := map[string]int{}
		for _, p := range container.Ports {
			ports[p.Name] = p.ContainerPort
		}
		if ports["http"] != int(c.Port) || c.MetricsAddr != ":"+strconv.Itoa(ports["metrics"]) {
			t.Errorf("%s: ports %v, but wsproxy listens on %d and %s", file, ports, c.Port, c.MetricsAddr)
		}
		soft, _ := environment(environ).lookup("GOMEMLIMIT")
		if container.Resources.Limits["memory"] != "1Gi" || soft != "700MiB" || c.TunnelBufferTotal != 128*mib || c.ResumeBufferTotal != 64*mib {
			t.Errorf("%s: of %v of memory %s, with buffers of %d and %d", file, container.Resources.Limits, soft, c.TunnelBufferTotal, c.ResumeBufferTotal)
		}
		if s := container.SecurityContext; !pod.SecurityContext.RunAsNonRoot || !s.ReadOnlyRootFilesystem || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) {
			t.Errorf("%s: rights are %+v, %+v", file, pod.SecurityContext, s)
		}
	}
}

// Each Ingress leads to a Service that there is, and each Service to pods. Those of one
// pod's tunnels lead to it while it drains, too.
func TestKubernetesServices(t *testing.T) {
	for _, file := range []string{"relays.yaml", "tunnels.yaml"} {
		all := manifests(t, file)
		pods := append(ofKind(all, "Deployment"), ofKind(all, "StatefulSet")...)[0]
		services := map[string]manifest{}
		for _, s := range ofKind(all, "Service") {
			services[s.Metadata.Name] = s
			var selector map[string]string
			if err := s.Spec.Selector.Decode(&selector); err != nil || len(selector) != 1 {
				t.Errorf("%s: the Service %s selects %v, %v", file, s.Metadata.Name, selector, err)
			}
			pod, ofOne := selector["statefulset.kubernetes.io/pod-name"]
			if ofOne && pod != s.Metadata.Name || !ofOne && !maps.Equal(selector, pods.Spec.Template.Metadata.Labels) {
				t.Errorf("%s: the Service %s selects %v", file, s.Metadata.Name, selector)
			}
			if s.Spec.PublishNotReadyAddresses != ofOne {
				t.Errorf("%s: whether the Service %s leads to pods that drain: %v", file, s.Metadata.Name, s.Spec.PublishNotReadyAddresses)
			}
		}
		hosts := map[string]string{}
		for _, ingress := range ofKind(all, "Ingress") {
			rule := ingress.Spec.Rules[0]
			backend := rule.HTTP.Paths[0].Backend.Service
			service, exists := services[backend.Name]
			if !exists || service.Spec.Ports[0].Name != backend.Port.Name || !slices.Equal(ingress.Spec.TLS[0].Hosts, []string{rule.Host}) {
				t.Errorf("%s: the Ingress %s leads to %+v", file, ingress.Metadata.Name, backend)
			}
			hosts[rule.Host] = backend.Name
		}
		want := map[string]string{"proxy.example.com": "wsproxy"}
		if file == "tunnels.yaml" {
			for pod := range pods.Spec.Replicas {
				name := "wsproxy-" + strconv.Itoa(pod)
				want["*."+name+".tunnel.example.com"] = name
			}
		}
		if !maps.Equal(hosts, want) {
			t.Errorf("%s: the hosts are %v, want %v", file, hosts, want)
		}
	}
}

// Traefik is not run by the tests; what it reads refers to what there is.
func TestTraefikFiles(t *testing.T) {
	type service struct {
		LoadBalancer struct {
			Servers     []struct{ URL string }
			HealthCheck struct{ Path, Interval, Timeout string } `yaml:"healthCheck"`
			Sticky      struct {
				Cookie struct {
					Name     string
					Secure   bool
					HTTPOnly bool   `yaml:"httpOnly"`
					SameSite string `yaml:"sameSite"`
				}
			}
			ResponseForwarding struct {
				FlushInterval string `yaml:"flushInterval"`
			} `yaml:"responseForwarding"`
		} `yaml:"loadBalancer"`
	}
	var dynamic struct {
		HTTP struct {
			Routers map[string]struct {
				Rule        string
				EntryPoints []string `yaml:"entryPoints"`
				Service     string
				TLS         struct {
					CertResolver string `yaml:"certResolver"`
					Domains      []struct{ Main string }
				}
			}
			Services map[string]service
		}
	}
	var static struct {
		EntryPoints          map[string]any `yaml:"entryPoints"`
		CertificateResolvers map[string]any `yaml:"certificatesResolvers"`
		Providers            any
	}
	for file, into := range map[string]any{"traefik.yml": &static, "wsproxy.yml": &dynamic} {
		decoder := yaml.NewDecoder(strings.NewReader(read(t, "deploy/traefik/"+file)))
		decoder.KnownFields(true)
		if err := decoder.Decode(into); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	if len(dynamic.HTTP.Routers) != 3 {
		t.Errorf("there are %d routers", len(dynamic.HTTP.Routers))
	}
	for name, router := range dynamic.HTTP.Routers {
		path := map[bool]string{true: "/health", false: "/health/live"}[name == "sessions"]
		if s := dynamic.HTTP.Services[router.Service]; s.LoadBalancer.HealthCheck.Path != path || len(s.LoadBalancer.Servers) == 0 {
			t.Errorf("the router %s leads to %+v", name, s)
		}
		if static.EntryPoints[router.EntryPoints[0]] == nil || static.CertificateResolvers[router.TLS.CertResolver] == nil {
			t.Errorf("the router %s has %v and %s, which there are not", name, router.EntryPoints, router.TLS.CertResolver)
		}
		pattern, isTunnel := strings.CutPrefix(router.Rule, "HostRegexp(`")
		letter := strings.TrimPrefix(name, "tunnels-")
		if isTunnel && !regexp.MustCompile(strings.TrimSuffix(pattern, "`)")).MatchString("0123456789abcdef."+letter+".tunnel.example.com") {
			t.Errorf("the router %s does not match its tunnels: %s", name, router.Rule)
		}
	}
}
