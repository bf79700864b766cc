/** Passwords of stations: made here, shown once; only their hash leaves the page. */

import { sha256 } from "./vendor/noble-hashes/sha2.js";

// without those that are easily taken for one another: 0 O, 1 I l
const LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const LENGTH = 32; // OCPP has 16 to 40 characters (OCPP 2.0.1 part 2, A00.FR.205; security whitepaper of 1.6)

/**
 * Make a password: 32 characters, 186 bits.
 * @returns {string}
 */
export function newPassword() {
  const letters = [];
  const bytes = new Uint8Array(1);
  while (letters.length < LENGTH) {
    crypto.getRandomValues(bytes);
    // 256 is no multiple of 57: what is beyond would come more often
    const index = bytes[0] & 63;
    if (index < LETTERS.length) letters.push(LETTERS[index]);
  }
  return letters.join("");
}

/**
 * The `base64SHA256Password` of a password. crypto.subtle has SHA-256 too, but not over plain HTTP.
 * @param {string} password
 * @returns {string}
 */
export function base64Sha256(password) {
  const digest = sha256(new TextEncoder().encode(password));
  return btoa(String.fromCharCode(...digest));
}
