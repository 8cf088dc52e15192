// Replaces variables of the build in the pages, as Next.js does with those named NEXT_PUBLIC_.
const fs = require('node:fs')

if (!process.env.NEXT_PUBLIC_API_URL) throw new Error('NEXT_PUBLIC_API_URL is not set')
fs.mkdirSync('out')
fs.writeFileSync('out/index.html', `built for ${process.env.NEXT_PUBLIC_API_URL}`)
