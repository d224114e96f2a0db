// An aggregated API server: metrics.k8s.io/v1beta1 as `kubectl top` reads it, for a node node-1 and a pod p
// in every namespace, always the same. It serves only who shows a front-proxy certificate, as the API server
// does for a request it has authenticated, and answers with errors in Kubernetes' own form.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"flag"
	"log"
	"math/big"
	"net/http"
	"os"
	"time"
)

type object = map[string]any

const group, version = "metrics.k8s.io", "metrics.k8s.io/v1beta1"

var usage = object{"cpu": "2", "memory": "45Mi"}

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "address")
	clients := flag.String("client-ca", "", "PEM file of the authority of front-proxy certificates")
	flag.Parse()
	authority, err := os.ReadFile(*clients)
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		log.Fatalf("%s: no certificate", *clients)
	}
	server := http.Server{
		Addr:              *listen,
		Handler:           routes(),
		ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{selfSigned()},
			ClientAuth:   tls.VerifyClientCertIfGiven,
			ClientCAs:    pool,
		},
	}
	log.Fatal(server.ListenAndServeTLS("", ""))
}

func routes() http.Handler {
	mux := http.NewServeMux()
	// A body that is nil is an object that is not there.
	get := func(path string, body func(*http.Request) object) {
		mux.HandleFunc("GET "+path, func(out http.ResponseWriter, in *http.Request) {
			if found := body(in); found != nil {
				answer(out, 200, found)
			} else {
				status(out, 404, "NotFound", "no metrics of "+in.PathValue("name"))
			}
		})
	}
	get("/apis", func(*http.Request) object {
		return object{"kind": "APIGroupList", "apiVersion": "v1", "groups": []object{apiGroup()}}
	})
	get("/apis/"+group, func(*http.Request) object { return apiGroup() })
	get("/apis/"+version, func(*http.Request) object { return resources() })
	get("/apis/"+version+"/nodes", func(*http.Request) object { return list("NodeMetricsList", node("node-1")) })
	get("/apis/"+version+"/nodes/{name}", func(in *http.Request) object { return node(in.PathValue("name")) })
	get("/apis/"+version+"/pods", func(*http.Request) object { return list("PodMetricsList") })
	get("/apis/"+version+"/namespaces/{namespace}/pods", func(in *http.Request) object {
		return list("PodMetricsList", pod(in.PathValue("namespace"), "p"))
	})
	get("/apis/"+version+"/namespaces/{namespace}/pods/{name}", func(in *http.Request) object {
		return pod(in.PathValue("namespace"), in.PathValue("name"))
	})
	mux.HandleFunc("/", func(out http.ResponseWriter, in *http.Request) {
		status(out, 404, "NotFound", "the server could not find the requested resource")
	})
	return http.HandlerFunc(func(out http.ResponseWriter, in *http.Request) {
		proxied := len(in.TLS.VerifiedChains) > 0 && in.TLS.PeerCertificates[0].Subject.CommonName == "front-proxy"
		if !proxied || in.Header.Get("X-Remote-User") == "" {
			status(out, 401, "Unauthorized", "only the API server may ask")
			return
		}
		mux.ServeHTTP(out, in)
	})
}

func answer(out http.ResponseWriter, code int, body object) {
	out.Header().Set("Content-Type", "application/json")
	out.WriteHeader(code)
	if err := json.NewEncoder(out).Encode(body); err != nil {
		log.Print(err)
	}
}

func status(out http.ResponseWriter, code int, reason, message string) {
	answer(out, code, object{"kind": "Status", "apiVersion": "v1", "metadata": object{}, "status": "Failure",
		"message": message, "reason": reason, "code": code})
}

func apiGroup() object {
	only := object{"groupVersion": version, "version": "v1beta1"}
	return object{"kind": "APIGroup", "apiVersion": "v1", "name": group, "versions": []object{only}, "preferredVersion": only}
}

func resources() object {
	verbs := []string{"get", "list"}
	return object{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": []object{
		{"name": "nodes", "singularName": "", "namespaced": false, "kind": "NodeMetrics", "verbs": verbs},
		{"name": "pods", "singularName": "", "namespaced": true, "kind": "PodMetrics", "verbs": verbs},
	}}
}

func list(kind string, items ...object) object {
	if items == nil {
		items = []object{}
	}
	return object{"kind": kind, "apiVersion": version, "metadata": object{}, "items": items}
}

func node(name string) object {
	if name != "node-1" {
		return nil
	}
	return metrics("NodeMetrics", object{"name": name}, "usage", usage)
}

func pod(namespace, name string) object {
	if name != "p" {
		return nil
	}
	return metrics("PodMetrics", object{"namespace": namespace, "name": name}, "containers",
		[]object{{"name": "c", "usage": usage}})
}

func metrics(kind string, metadata object, field string, value any) object {
	return object{"kind": kind, "apiVersion": version, "metadata": metadata,
		"timestamp": time.Now().UTC().Format(time.RFC3339), "window": "10s", field: value}
}

// The API server is told not to verify it.
func selfSigned() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "metrics"},
		DNSNames: []string{"metrics"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, key.Public(), key)
	if err != nil {
		log.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
