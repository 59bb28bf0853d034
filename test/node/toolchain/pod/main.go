// One static program for images that need nothing else: it holds pods open, and stands for a workload in tests.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: pod pause                                     stay until SIGTERM, and reap
       pod serve ADDRESS                             answer / with the host's name, /files/PATH with a file
       pod get [-ca FILE] [-token-file FILE] URL     print what a GET answers; exit 1 unless it is 200`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	switch {
	case len(args) == 1 && args[0] == "pause":
		pause()
		return nil
	case len(args) == 2 && args[0] == "serve":
		go pause()
		return serve(args[1])
	case len(args) > 1 && args[0] == "get":
		return get(args[1:])
	}
	return errors.New(usage)
}

// In a container it is the first process, for which the default action of SIGTERM does not count.
func pause() {
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGCHLD)
	for received := range signals {
		if received != syscall.SIGCHLD {
			os.Exit(0)
		}
		for {
			if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
	}
}

func serve(address string) error {
	http.HandleFunc("/", func(response http.ResponseWriter, request *http.Request) {
		if request.URL.Path != "/" {
			http.NotFound(response, request)
			return
		}
		name, _ := os.Hostname()
		fmt.Fprint(response, name)
	})
	http.HandleFunc("/files/", func(response http.ResponseWriter, request *http.Request) {
		content, err := os.ReadFile(path.Clean(strings.TrimPrefix(request.URL.Path, "/files")))
		if err != nil {
			http.Error(response, err.Error(), http.StatusNotFound)
			return
		}
		response.Write(content)
	})
	return http.ListenAndServe(address, nil)
}

func get(args []string) error {
	flags := flag.NewFlagSet("get", flag.ContinueOnError)
	ca := flags.String("ca", "", "certificates to trust instead of the system's")
	tokenFile := flags.String("token-file", "", "a bearer token")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 {
		return errors.New(usage)
	}
	request, err := http.NewRequest(http.MethodGet, flags.Arg(0), nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	if *ca != "" {
		pem, err := os.ReadFile(*ca)
		if err != nil {
			return err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return fmt.Errorf("%s holds no certificate", *ca)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	if *tokenFile != "" {
		token, err := os.ReadFile(*tokenFile)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", response.Status, body)
	}
	fmt.Print(string(body))
	return nil
}
