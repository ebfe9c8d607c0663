'use strict';

/** Credentials that a function supplies while a cache is in use. */

const native = require('./native.js');
const { timeOf } = require('./arguments.js');
const { errorOf, invalidType } = require('./error.js');

/** Returns a text as bytes. No message repeats it. */
function secretOf(text, what) {
  if (typeof text !== 'string') throw invalidType(`the ${what} of the credentials is not a string`);
  return Buffer.from(text);
}

/** Answers a request of the library. */
async function answer(request, credentials) {
  try {
    const { username = '', password, validFor } = (await credentials()) ?? {};
    const validMs = timeOf(validFor, 0, 'validFor');
    native.giveCredentials(request, secretOf(username, 'username'), secretOf(password, 'password'), validMs);
  } catch (error) {
    native.failCredentials(request, Buffer.from(String(error?.message ?? error)));
  }
}

/** Has a function supply the credentials of a cache. Resolves once the servers have accepted them. */
function supply(handle, credentials) {
  return new Promise((resolve, reject) => {
    native.supply(handle, (done, what) => {
      if (!done) answer(what, credentials);
      else if (what === undefined) resolve();
      else reject(errorOf(what));
    });
  });
}

/** Returns the function of the options. */
function credentialsOf(credentials) {
  if (credentials !== undefined && typeof credentials !== 'function') throw invalidType('credentials is not a function');
  return credentials;
}

module.exports = { credentialsOf, supply };
