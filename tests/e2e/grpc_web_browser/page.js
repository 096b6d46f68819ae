// Calls through the proxy with the stock client, and writes down what it was told. Whether that is right is not decided
// here, but in check.cjs.

import { GrpcWebClientBase, MethodDescriptor, MethodType } from "grpc-web";

import { EchoReply, EchoRequest } from "./messages.js";

const method = (name, type) =>
  new MethodDescriptor(
    `/echo.Echo/${name}`,
    type,
    EchoRequest,
    EchoReply,
    (request) => request.serializeBinary(),
    EchoReply.deserializeBinary,
  );
const UNARY = method("Unary", MethodType.UNARY);
const DOWNLOAD = method("Download", MethodType.SERVER_STREAMING);
const UNKNOWN = method("Nothing", MethodType.UNARY);

class Proxy {
  constructor(url, format) {
    this.url = url;
    this.client = new GrpcWebClientBase({ format });
  }

  /** One reply, or the error as text. */
  async unary(fields, tell, { descriptor = UNARY, metadata = {} } = {}) {
    const request = new EchoRequest(fields);
    try {
      const url = this.url + descriptor.getName();
      return tell(await this.client.unaryCall(url, request, metadata, descriptor));
    } catch (error) {
      return told(error);
    }
  }

  /** The payloads, when they came, and how the stream ended. */
  stream(fields, onData = () => {}) {
    const call = this.client.serverStreaming(this.url + DOWNLOAD.getName(), new EchoRequest(fields), {}, DOWNLOAD);
    const payloads = [];
    const times = [];
    return new Promise((resolve) => {
      call.on("data", (reply) => {
        payloads.push(reply.payload);
        times.push(performance.now());
        onData();
      });
      call.on("error", (error) => resolve({ payloads, times, end: told(error) }));
      call.on("end", () => resolve({ payloads, times, end: "OK" }));
    });
  }
}

/** The code, the message and the details of an error. */
function told({ code, message, metadata = {} }) {
  const details = metadata["grpc-status-details-bin"];
  return `${code}: ${message}` + (details ? ` (details: ${atob(details)})` : "");
}

/** 0,1,2 as 0..2; anything else as it is. */
function range(payloads) {
  const counts = payloads.length > 0 && payloads.every((payload, index) => payload === String(index));
  return counts ? `0..${payloads.length - 1}` : `[${payloads}]`;
}

const CALLS = {
  "unary": (proxy) => proxy.unary({ payload: "grüezi" }, (reply) => `${reply.payload} from ${reply.server}`),
  "unary, 3 MB": (proxy) => proxy.unary({ replyBytes: 3_000_000 }, (reply) => `${reply.payload.length} bytes`),
  "unary, with metadata": (proxy) =>
    proxy.unary({}, (reply) => reply.metadata.get("custom-header-1"), { metadata: { "custom-header-1": "one" } }),
  "stream of 100": async (proxy) => {
    const { payloads, end } = await proxy.stream({ replies: 100 });
    return `${range(payloads)}, ${end}`;
  },
  "stream, as it comes": async (proxy) => {
    const { payloads, times, end } = await proxy.stream({ replies: 5, pauseMs: 300 });
    const spread = times.at(-1) - times[0];
    return `${range(payloads)}, ${end}, ${spread > 600 ? "one by one" : "all at once"}`;
  },
  "error": (proxy) =>
    proxy.unary({ status: { code: 5, message: 'no cart for "größer als 10 %"', details: "ask Ada" } }, () => "a reply"),
  "error after 3 messages": async (proxy) => {
    const { payloads, end } = await proxy.stream({ replies: 3, status: { code: 8, message: "three are enough" } });
    return `${range(payloads)}, ${end}`;
  },
  "error in the headers": (proxy) => proxy.unary({}, () => "a reply", { descriptor: UNKNOWN }),
  "deadline of 200 ms": (proxy) =>
    proxy.unary({ delayMs: 3_000 }, () => "a reply", { metadata: { deadline: String(Date.now() + 200) } }),
};

const FAILURES = {
  "backend killed in a stream": async (proxy) => {
    const { payloads, end } = await proxy.stream({ replies: 2, pauseMs: 60_000 }, () => (window.shown += 1));
    return `${range(payloads)}, ${end}`;
  },
  "backend gone": (proxy) => proxy.unary({}, () => "a reply"),
};

/** Makes calls through every proxy, each a column, and shows what they tell, each a row. */
async function run(calls, columns) {
  const urls = new Set(columns.map(({ url }) => url));
  document.querySelector("#origin").textContent = `a page of ${location.origin}, calling ${[...urls].join(" and ")}`;
  const table = document.querySelector("table");
  if (!table.tHead) {
    const head = table.createTHead().insertRow();
    head.append(...["", ...columns.map(({ title }) => title)].map((title) => element("th", title)));
    table.createTBody();
  }
  for (const [name, call] of Object.entries(calls)) {
    const row = table.tBodies[0].insertRow();
    row.append(element("th", name));
    const told = columns.map(async ({ url, format }) => {
      const cell = row.appendChild(element("td", "…"));
      cell.textContent = await call(new Proxy(url, format));
    });
    await Promise.all(told);
  }
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

/** How many messages of streams that fail later are here. */
window.shown = 0;
window.calls = (columns) => run(CALLS, columns);
window.failures = (columns) => run(FAILURES, columns);
window.firstCall = (columns) => run({ "unary": CALLS["unary"] }, columns);
