// Five colours for a word: the same word has the same colours for ever.

import { createHash } from "node:crypto";

export function palette(word) {
  const bytes = createHash("sha256").update(word.trim().toLowerCase()).digest();
  const start = (bytes[0] * 256 + bytes[1]) % 360;
  const step = 18 + (bytes[2] % 40);
  return [0, 1, 2, 3, 4].map((n) => {
    const hue = (start + n * step) % 360;
    const saturation = 45 + (bytes[3 + n] % 35);
    const lightness = 28 + n * 13;
    return hex(hue, saturation / 100, lightness / 100);
  });
}

// HSL to RGB, as CSS Color 4 has it in section 7.1.
function hex(hue, saturation, lightness) {
  const channel = (n) => {
    const k = (n + hue / 30) % 12;
    const a = saturation * Math.min(lightness, 1 - lightness);
    return Math.round(255 * (lightness - a * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return "#" + [0, 8, 4].map((n) => channel(n).toString(16).padStart(2, "0")).join("");
}
