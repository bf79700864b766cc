// Looks up stations as the gateways of the field do: with Go's default client, and without reading
// or closing the body of an answer other than 200. Then it says how many sockets it has open.
//
// Usage: gateway <address of the service> <lookups> <at the same time> <target>...
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

func sockets() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	count := 0
	for _, entry := range entries {
		link, _ := os.Readlink("/proc/self/fd/" + entry.Name())
		if strings.HasPrefix(link, "socket:") {
			count++
		}
	}
	return count
}

func lookup(url string) int {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		panic(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	if response.StatusCode == http.StatusOK {
		defer response.Body.Close()
		if _, err := io.ReadAll(response.Body); err != nil {
			panic(err)
		}
	}
	return response.StatusCode
}

func main() {
	address, targets := os.Args[1], os.Args[4:]
	lookups, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	atOnce, err := strconv.Atoi(os.Args[3])
	if err != nil {
		panic(err)
	}
	var next atomic.Int64
	var statuses sync.Map
	var workers sync.WaitGroup
	for range atOnce {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for {
				number := int(next.Add(1)) - 1
				if number >= lookups {
					return
				}
				target := strings.ReplaceAll(targets[number%len(targets)], "N", strconv.Itoa(number))
				count, _ := statuses.LoadOrStore(lookup(address+target), new(atomic.Int64))
				count.(*atomic.Int64).Add(1)
			}
		}()
	}
	workers.Wait()
	statuses.Range(func(status, count any) bool {
		fmt.Printf("%d %d\n", status, count.(*atomic.Int64).Load())
		return true
	})
	fmt.Printf("sockets %d\n", sockets())
}
