// Starts a backend, the example grpc_web with and without TLS, and a page of another origin in Chromium; compares what
// the page shows with what it should; see `run`.

const { readFile } = require("node:fs/promises");
const { createServer } = require("node:http");
const { parseArgs } = require("node:util");

const puppeteer = require("puppeteer-core");

const { Program } = require("./processes.cjs");

const { values: args } = parseArgs({
  options: Object.fromEntries(
    ["chromium", "bundle", "python", "grpc-web", "cert", "key", "screenshot"].map((name) => [name, { type: "string" }]),
  ),
});

/** A call that hangs must not hang the check. */
const PATIENCE_MS = 90_000;

/** What each row shows: a text, a pattern, or one of them by column. */
const EXPECTED = {
  "unary": "grüezi from grpcio",
  "unary, 3 MB": "3000000 bytes",
  "unary, with metadata": "one",
  "stream of 100": "0..99, OK",
  // In binary mode the client shows nothing before the end.
  "stream, as it comes": ({ format }) => `0..4, OK, ${format === "text" ? "one by one" : "all at once"}`,
  "error": '5: no cart for "größer als 10 %" (details: ask Ada)',
  "error after 3 messages": "0..2, 8: three are enough",
  "error in the headers": "12: Method not found!",
  "deadline of 200 ms": /^4: (?!Request timed out)./,
  "backend killed in a stream": ({ backend }) => new RegExp(`^0..0, 14: .*${backend}`),
  "backend gone": ({ backend }) => new RegExp(`^14: .*${backend}`),
};

class Suite {
  passed = 0;
  failed = 0;

  check(name, actual, expected) {
    const ok = expected instanceof RegExp ? expected.test(actual) : actual === expected;
    this[ok ? "passed" : "failed"] += 1;
    console.log(`${name.padEnd(60)} ${ok ? "ok" : "FAILED"}`);
    if (!ok) console.log(`    ${actual} is not ${expected}`);
    return ok;
  }
}

/** Serves the page on an origin of its own. */
async function site() {
  const files = {
    "/": ["text/html", `${__dirname}/index.html`],
    "/page.bundle.js": ["text/javascript", args.bundle],
  };
  const server = createServer(async (request, response) => {
    const [type, path] = files[request.url] ?? [];
    response.writeHead(path ? 200 : 404, { "content-type": type ?? "text/plain" });
    response.end(path && (await readFile(path)));
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return { origin: `http://127.0.0.1:${server.address().port}`, server };
}

async function proxy(backend, origin, ...flags) {
  const program = new Program(args["grpc-web"], [
    ...["--mode", "sidecar", "--upstream", backend, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
    ...["--cors-origin", origin, "--linger", "0s", ...flags],
  ]);
  const [[, address]] = await program.printed(/^grpc_web listens on ([^,]+)/);
  return { program, address };
}

async function open(browser, origin, suite) {
  const page = await browser.newPage();
  page.on("pageerror", (error) => suite.check("the page has no errors", String(error), ""));
  await page.goto(origin);
  return page;
}

/** As DevTools say it, and as the columns do. */
const PROTOCOLS = { "http/1.1": "HTTP/1.1", "h2": "HTTP/2" };

/** The protocols that the page's answers come over, by origin. */
async function protocols(page) {
  const spoken = new Map();
  const devtools = await page.createCDPSession();
  devtools.on("Network.responseReceived", ({ response: { url, protocol } }) => {
    const { origin } = new URL(url);
    spoken.set(origin, (spoken.get(origin) ?? new Set()).add(PROTOCOLS[protocol] ?? protocol));
  });
  await devtools.send("Network.enable");
  return spoken;
}

/** Looks at each new cell of the table, colours it, and takes the picture. */
async function judge(page, columns, suite) {
  for (const row of await page.$$("tbody tr:not(:has(.ok, .failed))")) {
    const name = await row.$eval("th", (cell) => cell.textContent);
    const cells = await row.$$("td");
    for (const [index, column] of columns.entries()) {
      const actual = await cells[index].evaluate((cell) => cell.textContent);
      const expected = EXPECTED[name];
      const ok = suite.check(
        `${name}, ${column.title}`,
        actual,
        typeof expected === "function" ? expected(column) : expected,
      );
      await cells[index].evaluate((cell, verdict) => cell.classList.add(verdict), ok ? "ok" : "failed");
    }
  }
  await page.screenshot({ path: args.screenshot, fullPage: true });
}

async function main(suite) {
  const [pages, stranger] = [await site(), await site()];
  // grpcio would log the preflight of an origin that is not allowed, which the proxy passes on.
  const env = { ...process.env, GRPC_VERBOSITY: "NONE" };
  const server = new Program(args.python, [`${__dirname}/backend.py`], { env });
  const [[port]] = await server.printed(/^\d+$/);
  const backend = `127.0.0.1:${port}`;
  const plain = await proxy(backend, pages.origin);
  const tls = await proxy(backend, pages.origin, "--cert", args.cert, "--key", args.key);
  const columns = [
    { protocol: "HTTP/1.1", url: `http://${plain.address}` },
    { protocol: "HTTP/2", url: `https://${tls.address}` },
  ].flatMap((from) =>
    ["binary", "text"].map((format) => ({ ...from, format, backend, title: `${from.protocol}, ${format}` })),
  );

  const browser = await puppeteer.launch({
    executablePath: args.chromium,
    acceptInsecureCerts: true,
    // Chromium's sandbox does not start for root.
    args: process.getuid() === 0 ? ["--no-sandbox"] : [],
    defaultViewport: { width: 1440, height: 900 },
  });
  console.log(`${await browser.version()} on ${pages.origin}, grpc_web on ${columns[0].url} and ${columns[2].url}`);
  const page = await open(browser, pages.origin, suite);
  const spoken = await protocols(page);
  await page.evaluate((columns) => window.calls(columns), columns);
  await judge(page, columns, suite);

  const elsewhere = await open(browser, stranger.origin, suite);
  await elsewhere.evaluate((columns) => window.firstCall(columns), columns.slice(0, 1));
  const hidden = await elsewhere.$eval("tbody td", (cell) => cell.textContent);
  suite.check("a page of an origin that is not allowed reads nothing", hidden, /http status code: 0$/);
  // A page behind another one draws nothing, and so waits for ever.
  await elsewhere.close();

  const sent = (await server.printed(/^sent 0$/)).length;
  const failures = page.evaluate((columns) => window.failures(columns), columns);
  await server.printed(/^sent 0$/, sent + columns.length);
  // Only in text mode does the client show a message before the stream's end.
  await page.waitForFunction((count) => window.shown === count, {}, columns.length / 2);
  await server.end("SIGKILL");
  await failures;
  await judge(page, columns, suite);

  const rows = await page.$$("tbody tr");
  suite.check("all rows are there", rows.length, Object.keys(EXPECTED).length);

  for (const { protocol, url } of columns.filter(({ format }) => format === "text")) {
    suite.check(`all of it over ${protocol}`, [...spoken.get(url)].join(), protocol);
  }

  await browser.close();
  for (const [name, { program }] of Object.entries({ plain, tls })) {
    suite.check(`grpc_web (${name}) ends on SIGTERM`, await program.end("SIGTERM"), 0);
  }
  pages.server.close();
  stranger.server.close();
}

async function limited(work) {
  const late = new Promise((_, reject) => {
    setTimeout(() => reject(new Error(`not done after ${PATIENCE_MS} ms`)), PATIENCE_MS).unref();
  });
  await Promise.race([work, late]);
}

const suite = new Suite();
limited(main(suite))
  .catch((error) => suite.check("the check itself", error.stack, ""))
  .then(() => {
    console.log(`${suite.passed} passed, ${suite.failed} failed; screenshot: ${args.screenshot}`);
    process.exit(suite.failed === 0 ? 0 : 1);
  });
