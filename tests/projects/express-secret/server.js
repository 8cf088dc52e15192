const http = require('node:http')

const secret = process.env.JWT_SECRET
if (!secret) {
  console.error('JWT_SECRET is required')
  process.exit(1)
}
http.createServer((_, response) => response.end(`express, secret of ${secret.length}`)).listen(process.env.PORT || 4000)
