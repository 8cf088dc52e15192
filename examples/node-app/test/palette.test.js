import assert from "node:assert/strict";
import test from "node:test";
import { page } from "../src/page.js";
import { palette } from "../src/palette.js";

test("a word has five colours, the same ones each time", () => {
  assert.match(palette("sea").join(), /^(#[0-9a-f]{6},?){5}$/);
  assert.deepEqual(palette("sea"), palette(" SEA "));
  assert.notDeepEqual(palette("sea"), palette("sand"));
});

test("a word is no markup", () => {
  assert.doesNotMatch(page("<b>", palette("<b>")), /<b>/);
});
