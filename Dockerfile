# bg alone, as the registrator of docker-compose.yml runs it. The binary is built
# outside, static and for Linux, so that no base image is pulled:
#   CGO_ENABLED=0 GOOS=linux go build -trimpath -o bin/bg ./cmd/bg && docker build -t bg:local .
FROM scratch
ARG BINARY=bin/bg
COPY ${BINARY} /bg
ENTRYPOINT ["/bg"]
