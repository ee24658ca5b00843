// Runs before trimesh's viewer draws its first picture. Its renderer writes linear light where the screen expects sRGB,
// which would show the texture too dark; and a white panel would glare on a dark page.
renderer.outputEncoding = THREE.sRGBEncoding;
if (matchMedia("(prefers-color-scheme: dark)").matches) scene.background = new THREE.Color(0x222427);
