// Command app is what test containers run: it answers HTTP on the ports in
// PORTS until FAIL_AFTER is over, exits with EXIT at once, or fetches the URL in GET and prints the body.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	if code, err := strconv.Atoi(os.Getenv("EXIT")); err == nil {
		os.Exit(code)
	}
	if url := os.Getenv("GET"); url != "" {
		get(url)
		return
	}
	failed := make(chan error)
	for _, port := range strings.Fields(os.Getenv("PORTS")) {
		go func() { failed <- http.ListenAndServe(":"+port, http.HandlerFunc(answer)) }()
	}
	if after, err := time.ParseDuration(os.Getenv("FAIL_AFTER")); err == nil {
		time.AfterFunc(after, func() { failed <- fmt.Errorf("%s are over", after) })
	}
	fmt.Fprintln(os.Stderr, <-failed)
	os.Exit(1)
}

func answer(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, os.Getenv("ANSWER")) }

func get(url string) {
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
