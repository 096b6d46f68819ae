// The part of proto/echo.proto that the page speaks, as `protoc` would generate it.

import { BinaryReader, BinaryWriter } from "google-protobuf";

export class EchoRequest {
  constructor(fields = {}) {
    this.fields = fields;
  }

  serializeBinary() {
    const { payload = "", delayMs = 0, replies = 0, pauseMs = 0, replyBytes = 0, status } = this.fields;
    const writer = new BinaryWriter();
    writer.writeBytes(1, new TextEncoder().encode(payload));
    writer.writeUint32(2, delayMs);
    writer.writeUint32(3, replies);
    writer.writeUint32(4, pauseMs);
    writer.writeUint32(5, replyBytes);
    if (status) {
      writer.writeMessage(6, status, ({ code, message, details = "" }, writer) => {
        writer.writeUint32(1, code);
        writer.writeString(2, message);
        writer.writeBytes(3, new TextEncoder().encode(details));
      });
    }
    return writer.getResultBuffer();
  }
}

export class EchoReply {
  payload = "";
  server = "";
  metadata = new Map();

  static deserializeBinary(bytes) {
    const reader = new BinaryReader(bytes);
    const reply = new EchoReply();
    while (reader.nextField()) {
      switch (reader.getFieldNumber()) {
        case 1:
          reply.payload = new TextDecoder().decode(reader.readBytes());
          break;
        case 2:
          reply.server = reader.readString();
          break;
        case 3:
          reader.readMessage(["", ""], (entry, reader) => {
            while (reader.nextField()) {
              entry[reader.getFieldNumber() - 1] = new TextDecoder().decode(reader.readBytes());
            }
            reply.metadata.set(entry[0], entry[1]);
          });
          break;
        default:
          reader.skipField();
      }
    }
    return reply;
  }
}
