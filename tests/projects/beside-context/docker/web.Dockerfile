ARG BASE=stager-base/static:1
FROM ${BASE}
COPY index.html /www/
EXPOSE 53/udp
CMD ["busybox", "httpd", "-f", "-p", "8080", "-h", "/www"]
