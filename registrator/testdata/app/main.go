// Command app is what test containers run: it answers HTTP on the ports in
// PORTS until FAIL_AFTER is over, exits with EXIT at once, or fetches the URLs in
// GET and prints the bodies, a line for each.
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
	if urls := strings.Fields(os.Getenv("GET")); len(urls) > 0 {
		for _, url := range urls {
			fmt.Println(get(url))
		}
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

// get returns what url answers, or the error.
func get(url string) string {
	client := http.Client{Timeout: 30 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}
