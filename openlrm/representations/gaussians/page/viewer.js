"use strict";
// Draws 3D Gaussians back to front as ellipses, as openlrm/ops/splatting.py does front to back.
// A Gaussian is six 32-bit words: position and logarithm of scales as 16-bit shares of their ranges, colour and
// opacity as bytes, quaternion as signed 16-bit shares of 1.

const ROW = 1024; // Gaussians in a row of the texture, two texels each

const VERTEX = `#version 300 es
precision highp float;
precision highp usampler2D;
uniform usampler2D gaussians;
uniform vec3 low, range;
uniform vec2 scales;      // lowest logarithm, range
uniform mat3 toCamera;    // right, down, forward
uniform vec3 eye;
uniform vec2 size, focal; // pixels
in uint which;
flat out vec2 centre;
flat out vec3 conic;
flat out vec4 color;
vec2 halves(uint word) { return vec2(word & 65535u, word >> 16u); }
vec2 shares(uint word) { return halves(word) / 65535.0; }
vec2 signedShares(uint word) { return vec2(int(word << 16u) >> 16, int(word) >> 16) / 32767.0; }
void main() {
  ivec2 at = ivec2(2u * (which % ${ROW}u), which / ${ROW}u);
  uvec3 a = texelFetch(gaussians, at, 0).xyz, b = texelFetch(gaussians, at + ivec2(1, 0), 0).xyz;
  gl_Position = vec4(2.0, 2.0, 2.0, 1.0); // not seen
  vec2 yz = shares(a.y);
  vec3 p = toCamera * (low + range * vec3(shares(a.x), yz.x) - eye);
  color = vec4(b.x & 255u, b.x >> 8u & 255u, b.x >> 16u & 255u, b.x >> 24u) / 255.0;
  if (p.z <= 0.2 || color.a < 1.0 / 255.0) return;
  vec3 scale = exp(scales.x + scales.y * vec3(yz.y, shares(a.z)));
  vec2 wx = signedShares(b.y), yq = signedShares(b.z);
  vec4 q = normalize(vec4(wx.y, yq, wx.x)); // x, y, z, w
  mat3 turn = mat3(
    1.0 - 2.0 * (q.y * q.y + q.z * q.z), 2.0 * (q.x * q.y + q.w * q.z), 2.0 * (q.x * q.z - q.w * q.y),
    2.0 * (q.x * q.y - q.w * q.z), 1.0 - 2.0 * (q.x * q.x + q.z * q.z), 2.0 * (q.y * q.z + q.w * q.x),
    2.0 * (q.x * q.z + q.w * q.y), 2.0 * (q.y * q.z - q.w * q.x), 1.0 - 2.0 * (q.x * q.x + q.y * q.y));
  mat3 axes = toCamera * turn;
  vec2 limit = 0.65 * size / focal; // the middle, and 0.15 of the picture more
  vec2 slope = clamp(p.xy / p.z, -limit, limit);
  vec3 u = (vec3(axes[0].x, axes[1].x, axes[2].x) - slope.x * vec3(axes[0].z, axes[1].z, axes[2].z)) * scale;
  vec3 v = (vec3(axes[0].y, axes[1].y, axes[2].y) - slope.y * vec3(axes[0].z, axes[1].z, axes[2].z)) * scale;
  u *= focal.x / p.z;
  v *= focal.y / p.z;
  vec3 across = cross(u, v);
  float xx = dot(u, u), xy = dot(u, v), yy = dot(v, v);
  float determinant = 0.09 + 0.3 * (xx + yy) + dot(across, across);
  xx += 0.3;
  yy += 0.3;
  conic = vec3(yy, -xy, xx) / determinant;
  centre = focal * p.xy / p.z + 0.5 * size;
  vec2 reach = sqrt(2.0 * log(255.0 * color.a) * vec2(xx, yy)) + 0.01;
  vec2 corner = centre + reach * (2.0 * vec2(gl_VertexID & 1, gl_VertexID >> 1) - 1.0);
  gl_Position = vec4(2.0 * corner.x / size.x - 1.0, 1.0 - 2.0 * corner.y / size.y, 0.0, 1.0);
}`;

const FRAGMENT = `#version 300 es
precision highp float;
uniform vec2 size;
flat in vec2 centre;
flat in vec3 conic;
flat in vec4 color;
out vec4 seen;
void main() {
  vec2 d = vec2(gl_FragCoord.x, size.y - gl_FragCoord.y) - centre;
  float alpha = color.a * exp(-0.5 * dot(vec3(d.x * d.x, 2.0 * d.x * d.y, d.y * d.y), conic));
  if (alpha < 1.0 / 255.0) discard;
  alpha = min(alpha, 0.99);
  seen = vec4(color.rgb * alpha, alpha);
}`;

// Many faint layers need more than 8 bits: they are added up in half precision where that can be drawn to.
const COPY_VERTEX = `#version 300 es
void main() { gl_Position = vec4(4.0 * vec2(gl_VertexID & 1, gl_VertexID >> 1) - 1.0, 0.0, 1.0); }`;
const COPY_FRAGMENT = `#version 300 es
precision highp float;
uniform sampler2D sums;
uniform vec3 background;
out vec4 shown;
void main() {
  vec4 s = texelFetch(sums, ivec2(gl_FragCoord.xy), 0);
  shown = vec4(s.rgb + (1.0 - s.a) * background, 1.0);
}`;

const settings = JSON.parse(document.getElementById("settings").textContent);
const count = settings.count;
const canvas = document.querySelector("canvas");
const gl = canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false });

function words() {
  const text = atob(document.getElementById("data").textContent.trim());
  const bytes = new Uint8Array(Math.max(1, Math.ceil(count / ROW)) * ROW * 24);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Uint32Array(bytes.buffer);
}

function program(vertex, fragment) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader));
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  return made;
}

function texture(format, width, height, layout, type, values) {
  const made = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, made);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  gl.texImage2D(gl.TEXTURE_2D, 0, format, width, height, 0, layout, type, values);
  return made;
}

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const along = (a, b, t) => a.map((x, i) => x + t * b[i]);
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

// The camera: as given until it is turned, then on a sphere around what it looked at, z up.
const camera = { eye: null, rows: null, target: null, azimuth: 0, elevation: 0, distance: 1 };

function home() {
  const { right, up, backward, eye } = settings.camera;
  camera.rows = [right, up.map((x) => -x), backward.map((x) => -x)];
  camera.eye = eye;
  camera.distance = Math.max(dot(along(eye, settings.middle, -1), backward), 0.3);
  camera.target = along(eye, backward, -camera.distance);
  camera.azimuth = Math.atan2(backward[1], backward[0]);
  camera.elevation = Math.asin(Math.min(Math.max(backward[2], -1), 1));
}

function orbit() {
  const e = camera.elevation, a = camera.azimuth;
  const backward = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
  const right = [-Math.sin(a), Math.cos(a), 0];
  camera.rows = [right, cross(backward, right).map((x) => -x), backward.map((x) => -x)];
  camera.eye = along(camera.target, backward, camera.distance);
}

function start() {
  const packed = words();
  const positions = new Float32Array(3 * count);
  for (let i = 0; i < count; i++) {
    const a = packed[6 * i], b = packed[6 * i + 1];
    [a & 65535, a >>> 16, b & 65535].forEach((x, j) => {
      positions[3 * i + j] = settings.low[j] + (settings.range[j] * x) / 65535;
    });
  }
  const drawing = program(VERTEX, FRAGMENT);
  const u = (name, made = drawing) => gl.getUniformLocation(made, name);
  const rows = packed.length / (6 * ROW);
  const gaussians = texture(gl.RGB32UI, 2 * ROW, rows, gl.RGB_INTEGER, gl.UNSIGNED_INT, packed);
  const copying = gl.getExtension("EXT_color_buffer_float") && program(COPY_VERTEX, COPY_FRAGMENT);
  const sums = { texture: null, frame: gl.createFramebuffer(), width: 0, height: 0 };

  const order = new Uint32Array(count), depths = new Float32Array(count), keys = new Uint16Array(count);
  const buffer = gl.createBuffer(), attribute = gl.getAttribLocation(drawing, "which");
  const array = gl.createVertexArray(), nothing = gl.createVertexArray();
  gl.bindVertexArray(array);
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  gl.bufferData(gl.ARRAY_BUFFER, order.byteLength, gl.DYNAMIC_DRAW);
  gl.enableVertexAttribArray(attribute);
  gl.vertexAttribIPointer(attribute, 1, gl.UNSIGNED_INT, 0, 0);
  gl.vertexAttribDivisor(attribute, 1);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);

  // Farthest first: depths in 65,536 steps, counted.
  function sort() {
    const [x, y, z] = camera.rows[2];
    let near = Infinity, far = -Infinity;
    for (let i = 0; i < count; i++) {
      const depth = x * positions[3 * i] + y * positions[3 * i + 1] + z * positions[3 * i + 2];
      depths[i] = depth;
      near = Math.min(near, depth);
      far = Math.max(far, depth);
    }
    const starts = new Uint32Array(65537), steps = 65535 / Math.max(far - near, 1e-20);
    for (let i = 0; i < count; i++) {
      keys[i] = (far - depths[i]) * steps;
      starts[keys[i] + 1]++;
    }
    for (let k = 0; k < 65536; k++) starts[k + 1] += starts[k];
    for (let i = 0; i < count; i++) order[starts[keys[i]]++] = i;
  }

  function draw() {
    const width = (canvas.width = Math.max(1, Math.round(canvas.clientWidth * devicePixelRatio)));
    const height = (canvas.height = Math.max(1, Math.round(canvas.clientHeight * devicePixelRatio)));
    if (copying && (sums.width !== width || sums.height !== height)) {
      gl.deleteTexture(sums.texture);
      sums.texture = texture(gl.RGBA16F, width, height, gl.RGBA, gl.HALF_FLOAT, null);
      [sums.width, sums.height] = [width, height];
      gl.bindFramebuffer(gl.FRAMEBUFFER, sums.frame);
      gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, sums.texture, 0);
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, copying ? sums.frame : null);
    gl.viewport(0, 0, width, height);
    gl.clearColor(...(copying ? [0, 0, 0, 0] : [...settings.background, 1]));
    gl.clear(gl.COLOR_BUFFER_BIT);
    sort();
    gl.useProgram(drawing);
    gl.bindVertexArray(array);
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, order);
    gl.bindTexture(gl.TEXTURE_2D, gaussians);
    gl.uniform3fv(u("low"), settings.low);
    gl.uniform3fv(u("range"), settings.range);
    gl.uniform2fv(u("scales"), settings.scales);
    gl.uniform2f(u("size"), width, height);
    gl.uniform2f(u("focal"), settings.focal * height, settings.focal * height);
    gl.uniform3fv(u("eye"), camera.eye);
    gl.uniformMatrix3fv(u("toCamera"), true, camera.rows.flat());
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, count);
    if (copying) {
      gl.bindFramebuffer(gl.FRAMEBUFFER, null);
      gl.disable(gl.BLEND);
      gl.useProgram(copying);
      gl.bindVertexArray(nothing);
      gl.bindTexture(gl.TEXTURE_2D, sums.texture);
      gl.uniform3fv(u("background", copying), settings.background);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
      gl.enable(gl.BLEND);
    }
    document.documentElement.dataset.frames = 1 + Number(document.documentElement.dataset.frames || 0);
  }

  let asked = false;
  function ask() {
    if (!asked) requestAnimationFrame(() => { asked = false; draw(); });
    asked = true;
  }

  function turn(x, y) {
    camera.azimuth -= x;
    camera.elevation = Math.min(Math.max(camera.elevation + y, -1.55), 1.55);
    orbit();
    ask();
  }

  function zoom(factor) {
    camera.distance = Math.min(Math.max(camera.distance * factor, 0.25), 100);
    orbit();
    ask();
  }

  const fingers = new Map();
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
  });
  canvas.addEventListener("pointermove", (event) => {
    const finger = fingers.get(event.pointerId);
    if (!finger) return;
    const before = fingers.size === 2 ? spread() : 0;
    const [x, y] = [event.clientX - finger.x, event.clientY - finger.y];
    [finger.x, finger.y] = [event.clientX, event.clientY];
    if (fingers.size === 1) turn(0.008 * x, 0.008 * y);
    else if (fingers.size === 2 && spread() > 0) zoom(before / spread());
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoom(Math.exp(0.001 * event.deltaY * (event.deltaMode === 1 ? 16 : 1)));
  }, { passive: false });
  canvas.addEventListener("dblclick", () => { home(); ask(); });
  canvas.addEventListener("keydown", (event) => {
    const keys = {
      ArrowLeft: () => turn(0.1, 0), ArrowRight: () => turn(-0.1, 0), ArrowUp: () => turn(0, 0.1),
      ArrowDown: () => turn(0, -0.1), "+": () => zoom(0.9), "-": () => zoom(1.1),
    };
    if (event.key in keys) { event.preventDefault(); keys[event.key](); }
  });
  addEventListener("resize", ask);
  canvas.addEventListener("webglcontextlost", () => location.reload());
  home();
  draw();
}

if (gl) start();
else document.getElementById("caption").textContent = "This browser has no WebGL 2, which this page needs.";
