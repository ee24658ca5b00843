// Shows each `.viewer` of the page in 3D (ostec/export/viewer.py packs it), and opens the pictures of figures large.
"use strict";

const FIELD_OF_VIEW = 0.5; // radians, a portrait lens: a wide one would swell the nose
const FILLED = 0.8; // the distance, of that from which all is seen from all sides
const TURN_SECONDS = 12;
const STEP = 0.1; // of the arrow keys: radians, and of the size

const VERTEX = `#version 300 es
in vec3 point, normal, tint; in vec2 uv;
uniform mat4 view; uniform mat3 turn; uniform float nearer;
out vec3 facing, colour; out vec2 texel;
void main() {
  gl_Position = view * vec4(point, 1.0);
  gl_Position.z -= nearer * gl_Position.w;
  facing = turn * normal; colour = tint; texel = uv;
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 facing, colour; in vec2 texel;
uniform sampler2D picture; uniform bool textured, lit; uniform vec4 paint; uniform float roughness;
out vec4 shown;
void main() {
  vec3 flatColour = paint.rgb * (textured ? texture(picture, texel).rgb : colour);
  if (lit) {
    vec3 n = normalize(facing) * (gl_FrontFacing ? 1.0 : -1.0);
    vec3 key = normalize(vec3(-0.5, 0.6, 0.8)), fill = normalize(vec3(0.9, 0.1, 0.4));
    float shine = pow(max(dot(n, normalize(key + vec3(0, 0, 1))), 0.0), mix(160.0, 8.0, roughness));
    vec3 light = 0.36 + vec3(0.71, 0.69, 0.66) * max(dot(n, key), 0.0) + vec3(0.14, 0.16, 0.20) * max(dot(n, fill), 0.0);
    vec3 linear = pow(flatColour, vec3(2.2)) * light + 0.5 * pow(1.0 - roughness, 2.0) * shine * colour.r;
    flatColour = pow(clamp(linear, 0.0, 1.0), vec3(1.0 / 2.2));
  }
  shown = vec4(flatColour * paint.a, paint.a);
}`;

// Matrices are arrays by columns, as WebGL reads them.
const times = (a, b) => {
  const n = Math.sqrt(a.length), out = new Float32Array(a.length);
  for (let c = 0; c < n; c++) for (let r = 0; r < n; r++) {
    for (let k = 0; k < n; k++) out[n * c + r] += a[n * k + r] * b[n * c + k];
  }
  return out;
};
const turned = (pitch, yaw) => {
  const [a, b, c, d] = [Math.cos(pitch), Math.sin(pitch), Math.cos(yaw), Math.sin(yaw)];
  return times([1, 0, 0, 0, a, b, 0, -b, a], [c, 0, -d, 0, 1, 0, d, 0, c]);
};

async function unpacked(text, places) {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = await new Response(stream).arrayBuffer();
  const kinds = {int16: Int16Array, int32: Int32Array, uint8: Uint8Array, uint16: Uint16Array};
  return Object.fromEntries(Object.entries(places).map(([name, [kind, offset, count]]) =>
    [name, new kinds[kind](data, offset, count)]));
}

const summed = (steps) => {
  let sum = 0;
  return Uint32Array.from(steps, (step) => (sum += step));
};

// The head's shape: points that expressions and joints move, and the vertices that show them.
class Shape {
  constructor(about, arrays) {
    this.about = about;
    this.count = arrays.points.length / 3;
    this.neutral = Float32Array.from(arrays.points, (value) => value * about.step); // all x, all y, all z
    this.pointOf = summed(arrays.point);
    this.corners = summed(arrays.corners);
    this.cornerPoints = this.corners.map((vertex) => this.pointOf[vertex]);
    this.weights = arrays.weights;
    this.targets = [];
    let first = 0;
    for (const moved of arrays.moved) {
      const rows = summed(arrays.rows.subarray(first, first + moved));
      this.targets.push({rows, offsets: arrays.offsets.subarray(3 * first, 3 * (first + moved))});
      first += moved;
    }
    this.vertices = new Float32Array(6 * this.pointOf.length); // place and normal of each
  }

  // Expressions by the values of all targets, then joints by their turns (9 numbers each, or none).
  pose(values, turns) {
    const {count} = this, step = this.about.step, points = this.neutral.slice();
    this.targets.forEach(({rows, offsets}, k) => {
      if (!values[k]) return;
      for (let axis = 0; axis < 3; axis++) {
        const from = axis * rows.length, to = axis * count;
        for (let i = 0; i < rows.length; i++) points[to + rows[i]] += values[k] * step * offsets[from + i];
      }
    });
    this.points = turns.some(Boolean) ? this.bent(points, turns) : points;
    this.show();
  }

  bent(points, turns) {
    const {count} = this, out = new Float32Array(points.length), places = [];
    this.about.joints.forEach(({place, parent}, j) => {
      const above = places[parent], own = turns[j] || [1, 0, 0, 0, 1, 0, 0, 0, 1];
      const turn = above ? times(above.turn, own) : own;
      const shift = [0, 1, 2].map((r) => {
        const goal = above ? above.shift[r] + [0, 1, 2].reduce((s, c) => s + above.turn[3 * c + r] * place[c], 0) : place[r];
        return goal - [0, 1, 2].reduce((s, c) => s + turn[3 * c + r] * place[c], 0);
      });
      places.push({turn, shift});
      for (let i = 0; i < count; i++) {
        const weight = this.weights[j * count + i] / 255;
        if (!weight) continue;
        for (let r = 0; r < 3; r++) {
          out[r * count + i] += weight * (shift[r] + turn[r] * points[i] + turn[3 + r] * points[count + i] + turn[6 + r] * points[2 * count + i]);
        }
      }
    });
    return out;
  }

  show() {
    const {count, points: p, cornerPoints: at, vertices} = this, normals = new Float32Array(3 * count);
    for (let i = 0; i < at.length; i += 3) {
      const [a, b, c] = [at[i], at[i + 1], at[i + 2]];
      const x1 = p[b] - p[a], y1 = p[count + b] - p[count + a], z1 = p[2 * count + b] - p[2 * count + a];
      const x2 = p[c] - p[a], y2 = p[count + c] - p[count + a], z2 = p[2 * count + c] - p[2 * count + a];
      const x = y1 * z2 - z1 * y2, y = z1 * x2 - x1 * z2, z = x1 * y2 - y1 * x2;
      for (const corner of [a, b, c]) {
        normals[corner] += x;
        normals[count + corner] += y;
        normals[2 * count + corner] += z;
      }
    }
    this.pointOf.forEach((i, v) => {
      for (let axis = 0; axis < 3; axis++) {
        vertices[6 * v + axis] = p[axis * count + i];
        vertices[6 * v + 3 + axis] = normals[axis * count + i];
      }
    });
  }

  // Ends of the polygons' edges, each once; what halves a polygon is none.
  edges(fan) {
    const found = new Map();
    const add = (a, b) => {
      const [i, j] = [this.pointOf[a], this.pointOf[b]];
      if (i !== j) found.set(Math.min(i, j) * this.count + Math.max(i, j), [a, b]);
    };
    fan.forEach((follows, t) => {
      const [a, b, c] = this.corners.subarray(3 * t, 3 * t + 3);
      if (!follows) add(a, b);
      add(b, c);
      if (!fan[t + 1]) add(c, a);
    });
    return Uint32Array.from([...found.values()].flat());
  }
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.find = (selector) => root.querySelector(selector);
    this.canvas = this.find("canvas");
    this.modes = {};
    this.fingers = new Map();
  }

  async start() {
    const gl = this.gl = this.canvas.getContext("webgl2", {antialias: true});
    if (!gl || !window.DecompressionStream) throw new Error("This browser cannot show it: WebGL 2 is needed.");
    const about = this.about = JSON.parse(this.find(".about").textContent);
    const arrays = await unpacked(this.find(".data").textContent, about.arrays);
    this.shape = new Shape(about, arrays);
    await this.upload(arrays);
    this.reset();
    this.listen();
    this.find(".note").textContent = "";
    this.root.dataset.ready = "";
  }

  async upload(arrays) {
    const {gl, shape} = this;
    const program = this.program = gl.createProgram();
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    this.uniform = (name) => gl.getUniformLocation(program, name);
    const attribute = (name, size, kind, stride, offset) => {
      const place = gl.getAttribLocation(program, name);
      gl.enableVertexAttribArray(place);
      gl.vertexAttribPointer(place, size, kind, kind !== gl.FLOAT, stride, offset);
    };
    this.moving = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.moving);
    gl.bufferData(gl.ARRAY_BUFFER, shape.vertices.byteLength, gl.DYNAMIC_DRAW);
    attribute("point", 3, gl.FLOAT, 24, 0);
    attribute("normal", 3, gl.FLOAT, 24, 12);
    const still = (name, size, kind, values) => {
      gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
      gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
      attribute(name, size, kind, 0, 0);
    };
    still("uv", 2, gl.UNSIGNED_SHORT, arrays.uv);
    if (arrays.tints) still("tint", 3, gl.UNSIGNED_BYTE, arrays.tints);
    else gl.vertexAttrib3f(gl.getAttribLocation(program, "tint"), 1, 1, 1);
    const edges = shape.edges(arrays.fan);
    this.edges = edges.length;
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, Uint32Array.from([...shape.corners, ...edges]), gl.STATIC_DRAW);
    this.pictures = {};
    for (const image of document.querySelectorAll("img[data-picture]")) {
      await image.decode();
      this.pictures[image.dataset.picture] = this.texture(image);
    }
    gl.enable(gl.DEPTH_TEST);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  texture(image) {
    const {gl} = this, smooth = image.dataset.picture !== "origins";
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, image);
    gl.generateMipmap(gl.TEXTURE_2D);
    const sharp = gl.getExtension("EXT_texture_filter_anisotropic");
    if (sharp) gl.texParameterf(gl.TEXTURE_2D, sharp.TEXTURE_MAX_ANISOTROPY_EXT, 8);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, smooth ? gl.LINEAR : gl.NEAREST);
    for (const wrap of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, wrap, gl.CLAMP_TO_EDGE);
    return gl.getParameter(gl.TEXTURE_BINDING_2D);
  }

  // --- what is shown

  reset() {
    Object.assign(this, {yaw: 0, pitch: 0, size: 1, shift: [0, 0]});
    this.express(true);
  }

  // Sets expressions and joints to the photo's, or to none, and the sliders to their means.
  express(ofPhoto) {
    const {targets, joints, sliders} = this.about;
    this.values = targets.map((target) => (ofPhoto ? target.value : 0));
    this.rest = joints.map((joint) => (ofPhoto ? joint.turn : null));
    this.turns = joints.map(() => [0, 0]);
    const mean = (names) => {
      const own = names.map((name) => targets.findIndex((target) => target.name === name)).filter((k) => k >= 0);
      return own.reduce((sum, k) => sum + this.values[k], 0) / Math.max(own.length, 1);
    };
    this.root.querySelectorAll(".sliders input").forEach((input, k) => {
      input.value = mean(sliders[k].there) - mean(sliders[k].back);
    });
    this.pose();
  }

  slide(slider, value) {
    this.about.targets.forEach(({name}, k) => {
      if (slider.there.includes(name)) this.values[k] = Math.max(value, 0);
      if (slider.back.includes(name)) this.values[k] = Math.max(-value, 0);
    });
    this.about.joints.forEach(({name}, j) => {
      if (slider.joints.includes(name)) this.turns[j][slider.axis] = value * slider.turn_deg * Math.PI / 180;
    });
    this.pose();
  }

  pose() {
    const {gl, shape} = this;
    shape.pose(this.values, this.turns.map(([pitch, yaw], j) => {
      if (!pitch && !yaw) return this.rest[j];
      return this.rest[j] ? times(turned(pitch, yaw), this.rest[j]) : turned(pitch, yaw);
    }));
    gl.bindBuffer(gl.ARRAY_BUFFER, this.moving);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, shape.vertices);
    this.draw();
  }

  matrices() {
    if (this.modes.compare) {
      const [across, up, near] = this.about.photo.matrix, rows = this.about.photo.rotation;
      const [x, y, z] = [across, up, near.map((value) => -value / 4)];
      return {
        view: [0, 1, 2, 3].flatMap((c) => [x[c], y[c], z[c], c === 3 ? 1 : 0]),
        turn: [0, 1, 2].flatMap((c) => rows.map((row) => row[c])),
      };
    }
    const {low, high} = this.about, turn = turned(this.pitch, this.yaw);
    const [a, b, c] = low.map((value, axis) => (value + high[axis]) / 2);
    const reach = Math.hypot(...low.map((value, axis) => high[axis] - value)) / 2;
    const far = FILLED * reach / Math.sin(FIELD_OF_VIEW / 2) / this.size, lens = 1 / Math.tan(FIELD_OF_VIEW / 2);
    const [near, end] = [Math.max(far - 4 * reach, 0.05 * reach), far + 4 * reach];
    const moved = [0, 1, 2].map((r) => -(turn[r] * a + turn[3 + r] * b + turn[6 + r] * c));
    const place = [...turn.subarray(0, 3), 0, ...turn.subarray(3, 6), 0, ...turn.subarray(6, 9), 0,
      moved[0] + this.shift[0] * reach, moved[1] + this.shift[1] * reach, moved[2] - far, 1];
    const depth = (near + end) / (near - end);
    const projection = [lens, 0, 0, 0, 0, lens, 0, 0, 0, 0, depth, -1, 0, 0, 2 * near * end / (near - end), 0];
    return {view: times(projection, place), turn};
  }

  draw() {
    this.waiting ??= requestAnimationFrame((time) => {
      this.waiting = null;
      if (this.modes.turn) {
        if (this.last) this.yaw += (time - this.last) / 1000 * 2 * Math.PI / TURN_SECONDS;
        this.last = time;
      }
      this.paint();
      if (this.modes.turn) this.draw();
    });
  }

  paint() {
    const {gl, canvas, about, modes, pictures} = this;
    const side = Math.round(canvas.clientWidth * Math.min(window.devicePixelRatio, 2));
    if (canvas.width !== side) canvas.width = canvas.height = side;
    gl.viewport(0, 0, side, side);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    const {view, turn} = this.matrices();
    gl.uniformMatrix4fv(this.uniform("view"), false, view);
    gl.uniformMatrix3fv(this.uniform("turn"), false, turn);
    gl.uniform1f(this.uniform("nearer"), 0);
    gl.uniform1i(this.uniform("lit"), modes.light ? 1 : 0);
    let first = 0;
    for (const part of about.parts) {
      const origins = modes.provenance && part.name === "face";
      const picture = origins ? pictures.origins : modes.provenance ? null : pictures[part.name];
      gl.bindTexture(gl.TEXTURE_2D, picture || null);
      gl.uniform1i(this.uniform("textured"), picture ? 1 : 0);
      gl.uniform1f(this.uniform("roughness"), part.roughness);
      gl.uniform4f(this.uniform("paint"), ...(modes.provenance ? (origins ? [1, 1, 1] : about.rest.map((value) => value / 255)) : part.colour), 1);
      gl.drawElements(gl.TRIANGLES, part.corners, gl.UNSIGNED_INT, 4 * first);
      first += part.corners;
    }
    if (!modes.wireframe) return;
    gl.uniform1i(this.uniform("textured"), 0);
    gl.uniform1i(this.uniform("lit"), 0);
    gl.uniform1f(this.uniform("nearer"), 0.0004);
    gl.uniform4f(this.uniform("paint"), 0.1, 1, 0.8, 0.4);
    gl.drawElements(gl.LINES, this.edges, gl.UNSIGNED_INT, 4 * first);
  }

  // --- what the user does

  listen() {
    const {root, canvas, about} = this;
    root.querySelectorAll("button[data-mode]").forEach((button) => {
      button.addEventListener("click", () => this.toggle(button.dataset.mode));
    });
    root.querySelectorAll("button[data-do]").forEach((button) => {
      button.addEventListener("click", () => this.act(button.dataset.do));
    });
    root.querySelectorAll(".sliders input").forEach((input, k) => {
      input.addEventListener("input", () => this.slide(about.sliders[k], Number(input.value)));
    });
    const split = this.find(".split");
    split?.addEventListener("input", () => root.style.setProperty("--split", `${split.value}%`));
    root.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      this.fingers.set(event.pointerId, event);
    });
    canvas.addEventListener("pointermove", (event) => this.drag(event));
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, (event) => this.fingers.delete(event.pointerId));
    }
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoom(Math.exp(-event.deltaY / 800));
    }, {passive: false});
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  drag(event) {
    const {fingers, canvas} = this, before = fingers.get(event.pointerId);
    if (!before) return;
    const others = [...fingers.values()].filter((finger) => finger.pointerId !== event.pointerId);
    const [dx, dy] = [event.clientX - before.clientX, event.clientY - before.clientY].map((d) => d / canvas.clientWidth);
    fingers.set(event.pointerId, event);
    if (others.length) {
      const apart = (finger) => Math.hypot(finger.clientX - others[0].clientX, finger.clientY - others[0].clientY);
      this.zoom(apart(event) / Math.max(apart(before), 1));
      this.move(dx / 2, dy / 2);
    } else if (event.buttons > 1 || event.shiftKey) this.move(dx, dy);
    else this.rotate(4 * dx, 4 * dy);
  }

  rotate(yaw, pitch) {
    this.yaw += yaw;
    this.pitch = Math.min(Math.max(this.pitch + pitch, -1.5), 1.5);
    this.draw();
  }

  move(dx, dy) {
    this.shift = [this.shift[0] + 2 * dx / this.size, this.shift[1] - 2 * dy / this.size];
    this.draw();
  }

  zoom(factor) {
    this.size = Math.min(Math.max(this.size * factor, 0.4), 8);
    this.draw();
  }

  toggle(mode) {
    const {root} = this, button = this.find(`[data-mode="${mode}"]`);
    if (!button) return;
    const on = this.modes[mode] = !this.modes[mode];
    button.setAttribute("aria-pressed", on);
    root.classList.toggle(mode, on);
    this.last = null;
    this.draw();
  }

  act(what) {
    if (what === "reset") this.reset();
    if (what === "neutral" || what === "photo") this.express(what === "photo");
    if (what === "full") this.fill();
  }

  // Telephones that fill their screen with videos alone fill the page.
  fill() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.root.requestFullscreen && !this.root.classList.contains("full")) this.root.requestFullscreen();
    else this.root.classList.toggle("full");
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const turns = {ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP]};
    const button = /^[a-z]$/i.test(event.key) && this.find(`[aria-keyshortcuts="${event.key.toUpperCase()}"]`);
    if (event.key === "Escape") this.root.classList.remove("full");
    else if (button) button.click();
    else if (event.target === this.canvas && turns[event.key]) this.rotate(...turns[event.key]);
    else if (event.target === this.canvas && "+=-".includes(event.key)) this.zoom(event.key === "-" ? 1 - STEP : 1 + STEP);
    else return;
    event.preventDefault();
  }
}

// Pictures open large; the arrow keys show the others.
function openLarge() {
  const dialog = document.createElement("dialog"), image = new Image(), title = document.createElement("p");
  dialog.className = "large";
  dialog.append(image, title);
  document.body.append(dialog);
  const buttons = [...document.querySelectorAll("button.open")];
  let at = 0;
  const show = (k) => {
    at = (k + buttons.length) % buttons.length;
    const own = buttons[at].querySelector("img");
    [image.src, image.alt, title.textContent] = [own.src, own.alt, own.alt];
  };
  buttons.forEach((button, k) => button.addEventListener("click", () => {
    show(k);
    dialog.showModal();
  }));
  dialog.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
    if (step) show(at + step);
  });
}

document.addEventListener("DOMContentLoaded", () => {
  for (const root of document.querySelectorAll(".viewer")) {
    new Viewer(root).start().catch((error) => (root.querySelector(".note").textContent = error.message));
  }
  openLarge();
});
