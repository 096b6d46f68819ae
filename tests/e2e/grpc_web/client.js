// The stock `grpc-web` client in Node, over HTTP/1.1, in binary and in text: calls `echo.Echo` behind the URL that is
// given. One line per check; exit code 1 if one fails.
global.XMLHttpRequest = require('xhr2');
const { GrpcWebClientBase, MethodDescriptor, MethodType } = require('grpc-web');

const url = process.argv[2];
if (!url) {
  console.error('usage: client.js URL');
  process.exit(2);
}

// `EchoRequest`s by hand: fields 1 (payload), 3 (replies), 6 (status). No payload here reaches 128 bytes.
const text = (field, value) => [(field << 3) | 2, value.length, ...Buffer.from(value)];
const payload = (value) => text(1, value);
const replies = (count) => [3 << 3, count];
const failing = (code, message) => text(6, Buffer.from([1 << 3, code, ...text(2, message)]));

const method = (name, type) =>
  new MethodDescriptor(name, type, Object, Object, (bytes) => Uint8Array.from(bytes), (bytes) => Buffer.from(bytes));

const unary = (client, name, request) =>
  new Promise((resolve) =>
    client.rpcCall(url + name, request, {}, method(name, MethodType.UNARY), (error, reply) =>
      resolve({ error, reply })));

const stream = (client, name, request) =>
  new Promise((resolve) => {
    let count = 0;
    const call = client.serverStreaming(url + name, request, {}, method(name, MethodType.SERVER_STREAMING));
    call.on('data', () => count++);
    call.on('error', (error) => resolve({ count, code: error.code, message: error.message }));
    call.on('status', (status) => resolve({ count, code: status.code, message: status.details }));
  });

function check(what, good, seen) {
  console.log(`${good ? 'ok' : 'FAILED'}: ${what}${good ? '' : `: ${JSON.stringify(seen)}`}`);
  if (!good) process.exitCode = 1;
}

async function main() {
  for (const format of ['binary', 'text']) {
    const client = new GrpcWebClientBase({ format });
    let seen = await unary(client, '/echo.Echo/Unary', payload('hello'));
    check(`${format}: a unary call`, seen.reply && seen.reply.includes('hello'), seen);

    seen = await unary(client, '/echo.Echo/Unary', failing(9, 'not now, 100 %'));
    const { code, message } = seen.error || {};
    check(`${format}: an error's code and message`, code === 9 && message === 'not now, 100 %', seen);

    seen = await stream(client, '/echo.Echo/Download', replies(100));
    check(`${format}: a stream of 100 messages`, seen.count === 100 && seen.code === 0, seen);

    seen = await stream(client, '/echo.Echo/Download', [...replies(100), ...failing(15, 'lost')]);
    check(`${format}: an error after data`, seen.count === 100 && seen.code === 15 && seen.message === 'lost', seen);

    seen = await unary(client, '/no.Such/Method', payload('hello'));
    check(`${format}: a method that is not there`, seen.error && seen.error.code === 12, seen);
  }
}

main();
